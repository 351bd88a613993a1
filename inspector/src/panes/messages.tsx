// Messages as people read them.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Detail, Json, Message, Part } from "../data/types";
import { asked } from "../parts/asked";
import { bytes, plain } from "../parts/format";
import { wrapped } from "../parts/lines";
import { LONGEST, Markdown } from "../parts/markdown";
import { Tree } from "../parts/tree";
import { Window } from "../parts/window";
import { messagesShown, PAGE, state } from "../state/details";
import { select } from "../state/moving";

/** The messages that count at the cut, the latest ones. */
export function Conversation({ events }: { events: Detail[] }): JSX.Element {
  const [only] = events;
  const model = only?.step?.kind === "model" && only.type !== "message" ? only : null;
  if (model) return <Request detail={model} />;
  const all = state.value.value?.messages.length ?? events.length;
  const earlier = all - events.length;
  if (!events.length) return <p class="quiet">No message counts up to here, and no model was asked.</p>;
  return (
    <div class="conversation">
      {earlier > 0 && (
        <button class="link" onClick={() => (messagesShown.value += PAGE)}>
          {earlier} earlier
        </button>
      )}
      {events.map((each) => each.message && <Said key={each.index} message={each.message} index={each.index} />)}
    </div>
  );
}

/** What a model was given and said: the conversation, where nothing else recorded it. */
function Request({ detail }: { detail: Detail }): JSX.Element {
  const given = asked(detail.step?.input) ?? [];
  const earlier = given.length - messagesShown.value;
  return (
    <div class="conversation">
      <p class="quiet">
        As the model was given it in{" "}
        <button class="link" onClick={() => select(detail.step!.start)}>
          step:{detail.step!.number}
        </button>
      </p>
      {earlier > 0 && (
        <button class="link" onClick={() => (messagesShown.value += PAGE)}>
          {earlier} earlier
        </button>
      )}
      {given.slice(-messagesShown.value).map((each, place) => (
        <Said key={place} message={each} />
      ))}
      {detail.type === "outcome" && detail.message && <Said message={detail.message} />}
    </div>
  );
}

export function Said({ message, index }: { message: Message; index?: number }): JSX.Element {
  return (
    <article class="said" data-role={message.role}>
      <header>
        <b>{plain(message.role)}</b>
        {message.coming && <span class="quiet">is coming…</span>}
        {index !== undefined && (
          <button class="link" onClick={() => select(index)}>
            {index}
          </button>
        )}
      </header>
      {message.parts.map((part, place) => (
        <Piece key={place} part={part} />
      ))}
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
          <Tree value={part.arguments ?? null} label={`Arguments of ${part.name ?? "a tool"}`} />
        </div>
      );
    case "tool_result":
      return (
        <div class={part.error ? "call failed" : "call"}>
          <code>← {part.error ? "failed" : "result"}</code>
          <Tree value={part.result ?? null} label="Result of a tool" />
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
  const lines = wrapped(text, 90);
  return (
    <div class="lines">
      <Window count={lines.length} height={18} render={(at) => <div key={at}>{plain(lines[at]!) || " "}</div>} />
    </div>
  );
}
