// Messages as people read them.

import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import type { Json, Message, Part, Spoken } from "../data/types";
import { bytes, plain } from "../parts/format";
import { wrapped } from "../parts/lines";
import { LONGEST, Markdown } from "../parts/markdown";
import { Tree } from "../parts/tree";
import { Window } from "../parts/window";
import { messagesShown, PAGE } from "../state/details";
import { select } from "../state/moving";

/** What was said before the cut, the latest of it: by messages, and in what models were asked. */
export function Conversation({ spoken }: { spoken: Spoken }): JSX.Element {
  const { messages, total } = spoken;
  const earlier = total - messages.length;
  if (!total) return <p class="quiet">Nothing was said up to here.</p>;
  return (
    <div class="conversation">
      {earlier > 0 && (
        <button class="link" onClick={() => (messagesShown.value += PAGE)}>
          {earlier} earlier
        </button>
      )}
      {messages.map((each, place) => (
        <Said key={total - messages.length + place} message={each} index={each.index} />
      ))}
    </div>
  );
}

export function Said({ message, index }: { message: Message; index?: number | null }): JSX.Element {
  return (
    <article class="said" data-role={message.role}>
      <header>
        <b>{plain(message.role)}</b>
        {message.coming && <span class="quiet">is coming…</span>}
        {typeof index === "number" && (
          <button class="link" onClick={() => select(index)}>
            {index}
          </button>
        )}
      </header>
      {message.parts.map((part, place) => (
        <Piece key={place} part={part} />
      ))}
      {message.cut && <p class="cut">Cut here. {typeof index === "number" ? `Event ${index} has the whole value.` : "The value below can be loaded whole."}</p>}
    </article>
  );
}

function Piece({ part }: { part: Part }): JSX.Element {
  switch (part.type) {
    case "text":
      return <Text text={part.text ?? ""} />;
    case "reasoning":
      return (
        <details class="reasoning">
          <summary>Reasoning</summary>
          <Text text={part.text ?? ""} />
        </details>
      );
    case "tool_call":
      return (
        <div class="call">
          <code>→ {plain(part.name ?? "")}</code>
          <Tree value={read(part.arguments)} label={`Arguments of ${part.name ?? "a tool"}`} />
        </div>
      );
    case "tool_result":
      return (
        <div class={part.error ? "call failed" : "call"}>
          <code>← {part.error ? "failed" : "result"}</code>
          <Result value={read(part.result)} />
        </div>
      );
    case "file":
      return (
        <p class="call">
          <code>
            {plain(part.name ?? "file")} {plain(part.media_type ?? "")} {part.size !== undefined && part.size !== null ? bytes(part.size) : ""}
          </code>
        </p>
      );
    default:
      return <Tree value={(part.value ?? part) as Json} label={part.type} />;
  }
}

/** Arguments and results often are JSON in a text. */
function read(value: Json | undefined): Json {
  if (typeof value !== "string" || !/^\s*[[{]/.test(value)) return value ?? null;
  try {
    return JSON.parse(value) as Json;
  } catch {
    return value;
  }
}

function Result({ value }: { value: Json }): JSX.Element {
  return typeof value === "string" ? <Text text={value} /> : <Tree value={value} label="Result of a tool" />;
}

const FIRST = 20_000;

/** A text as it was meant; a very long one is cut, and whole it is only lines. */
function Text({ text }: { text: string }): JSX.Element {
  const [whole, setWhole] = useState(false);
  if (text.length <= LONGEST) return <Markdown text={text} />;
  if (whole) return <Lines text={text} />;
  return (
    <>
      <Lines text={text.slice(0, FIRST)} />
      <p class="cut">
        {bytes(text.length)}
        <button class="link" onClick={() => setWhole(true)}>
          Show all
        </button>
      </p>
    </>
  );
}

function Lines({ text }: { text: string }): JSX.Element {
  const lines = useMemo(() => wrapped(plain(text), 90), [text]);
  return (
    <div class="lines">
      <Window count={lines.length} height={18} render={(at) => <div key={at}>{lines[at] || " "}</div>} />
    </div>
  );
}
