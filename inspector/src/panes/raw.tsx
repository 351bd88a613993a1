// An event as it is stored, byte for byte.

import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import type { Raw } from "../data/types";
import { bytes, plain } from "../parts/format";
import { wrapped } from "../parts/lines";
import { copy, save } from "../parts/notices";
import { Window } from "../parts/window";
import { cursor, session } from "../state/view";

const LARGE = 256_000;
const FIRST = 20_000;

export function RawText({ raw }: { raw: Raw }): JSX.Element {
  const [whole, setWhole] = useState<Raw | null>(null);
  const [pretty, setPretty] = useState(true);
  const large = raw.raw.length > LARGE && whole !== raw;
  const lines = useMemo(() => wrapped(plain(shown(large ? raw.raw.slice(0, FIRST) : raw.raw, pretty && raw.valid && !large)), 100), [raw, large, pretty]);
  return (
    <>
      {!raw.valid && (
        <p class="card bad" role="alert">
          This event is no JSON. Its {bytes(raw.size)} are shown as they are.
        </p>
      )}
      <div class="row-of">
        <span class="quiet">{bytes(raw.size)}</span>
        {large && (
          <button class="link" onClick={() => setWhole(raw)}>
            Load full
          </button>
        )}
        {raw.valid && !large && (
          <button class="link" aria-pressed={!pretty} onClick={() => setPretty(!pretty)}>
            {pretty ? "As stored" : "Indented"}
          </button>
        )}
        <button class="link" onClick={() => void copy(raw.raw, "the event")}>
          Copy
        </button>
        <button class="link" onClick={() => save(new Blob([raw.raw], { type: "application/json" }), `${session.value}-${cursor.value - 1}.json`)}>
          Download
        </button>
      </div>
      <div class="lines code">
        <Window count={lines.length} height={18} render={(at) => <div key={at}>{lines[at] || " "}</div>} />
      </div>
    </>
  );
}

function shown(text: string, pretty: boolean): string {
  if (!pretty) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
