// What differs between two values, as JSON Patch says it, each change with what was there.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Change, Json } from "../data/types";
import { plain } from "./format";
import { preview } from "./lines";

const PAGE = 40;

export function Changes({ changes, was = "was", now = "is" }: { changes: Change[]; was?: string; now?: string }): JSX.Element {
  const [most, setMost] = useState(PAGE);
  if (!changes.length) return <p class="quiet">No difference.</p>;
  return (
    <>
      <ul class="changes">
        {changes.slice(0, most).map((change, place) => (
          <li key={place}>
            <code class="path">{plain(change.path) || "/"}</code>
            {change.was !== undefined && <Side sign="−" tone="removed" label={was} value={change.was} />}
            {change.value !== undefined && <Side sign="+" tone="added" label={now} value={change.value} />}
          </li>
        ))}
      </ul>
      {changes.length > most && (
        <button class="link" onClick={() => setMost(most + 5 * PAGE)}>
          {changes.length - most} more
        </button>
      )}
    </>
  );
}

function Side({ sign, tone, label, value }: { sign: string; tone: string; label: string; value: Json }): JSX.Element {
  const text = typeof value === "string" ? plain(JSON.stringify(value.slice(0, 2000))) : preview(value, 2000);
  return (
    <code class={`side ${tone}`} title={label}>
      {sign} {text}
    </code>
  );
}

/** What turns one value into another: members compared by name, elements by place. */
export function compare(was: Json, now: Json, path = "", found: Change[] = []): Change[] {
  if (was === now || found.length >= 200) return found;
  const both = typeof was === "object" && typeof now === "object" && was !== null && now !== null && Array.isArray(was) === Array.isArray(now);
  if (!both) {
    found.push({ op: "replace", path, was, value: now });
    return found;
  }
  const one = was as Record<string, Json>;
  const other = now as Record<string, Json>;
  for (const name of new Set([...Object.keys(one), ...Object.keys(other)])) {
    const place = `${path}/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`;
    if (!Object.hasOwn(other, name)) found.push({ op: "remove", path: place, was: one[name]! });
    else if (!Object.hasOwn(one, name)) found.push({ op: "add", path: place, value: other[name]! });
    else compare(one[name]!, other[name]!, place, found);
  }
  return found;
}

/** What kind of JSON a value is, in words. */
export function kindOf(value: Json): string {
  if (value === null) return "nothing";
  if (Array.isArray(value)) return "a list";
  return { string: "a text", number: "a number", boolean: "a boolean", object: "an object" }[typeof value as "string" | "number" | "boolean" | "object"];
}
