// What a replay came to.

import type { JSX } from "preact";
import type { Divergence, Replayed } from "../data/types";
import { Changes } from "../parts/changes";
import { close } from "../parts/dialog";
import { plain } from "../parts/format";
import { preview } from "../parts/lines";
import { seek } from "../state/moving";
import { visit } from "../state/view";

const TONES: Record<string, "good" | "warn"> = { identical: "good", same: "good", stopped: "warn", otherwise: "warn", unfinished: "warn" };

interface Props {
  found: Replayed;
  /** Goes on to the next stop, where there is one that is known. */
  goOn: { label: string; act: () => void } | null;
}

export function Report({ found, goOn }: Props): JSX.Element {
  const tone = TONES[found.verdict ?? ""] ?? "bad";
  const all = found.divergences?.length ? found.divergences : found.divergence ? [found.divergence] : [];
  return (
    <section aria-label="Report" class="report">
      <p class="verdict" data-tone={tone}>
        {{ good: "✓", warn: "■", bad: "✗" }[tone]} {found.verdict} {found.steps} of {found.recorded} recorded steps served
        {found.made ? `, ${found.made} made` : ""}
      </p>
      {found.refused && <p>{plain(found.refused)}</p>}
      {found.stopped && (
        <p>
          Stopped before step:{found.stopped.step} {plain(found.stopped.kind)} {plain(found.stopped.name)}.{" "}
          <button class="link" onClick={() => (close(), seek(found.stopped!.at))}>
            Show it
          </button>{" "}
          {goOn && (
            <button class="link" onClick={goOn.act}>
              {goOn.label}
            </button>
          )}
        </p>
      )}
      {found.passed !== null && found.passed !== undefined && (
        <p>
          {found.passed} of {found.tries?.length ?? 0} tries passed the check.
        </p>
      )}
      {(found.tries ?? []).length > 1 && (
        <ol class="tries" aria-label="Tries">
          {found.tries!.slice(0, 50).map((each, place) => (
            <li key={place}>
              {each.verdict}{" "}
              {each.fork && (
                <button class="link" onClick={() => (close(), visit(each.fork!))}>
                  Open {plain(each.fork)}
                </button>
              )}{" "}
              <code class="one-line">{preview(each.result ?? null, 200)}</code>
            </li>
          ))}
        </ol>
      )}
      {all.slice(0, 20).map((each, place) => (
        <Differing key={place} found={each} />
      ))}
      {(found.drifts ?? []).slice(0, 20).map((each, place) => (
        <Differing key={`drift ${place}`} found={each} />
      ))}
      {found.error && !all.length && (
        <p>
          The agent raised {plain(found.error.name ?? "")}: {plain(found.error.text ?? "")}
        </p>
      )}
      {found.fork && (
        <button class="primary" onClick={() => (close(), visit(found.fork!))}>
          Open {plain(found.fork)}
        </button>
      )}
      {(found.notes ?? []).map((note) => (
        <p key={note} class="quiet">
          {plain(note)}
        </p>
      ))}
    </section>
  );
}

function Differing({ found }: { found: Divergence }): JSX.Element {
  return (
    <div class="card bad">
      <p>
        <b>{found.session_step === null ? "The end" : `step:${found.session_step}`}</b> {found.kind.replaceAll("_", " ")} <code>{plain(found.path)}</code>{" "}
        <button class="link" onClick={() => (close(), seek(found.at + 1))}>
          Show it
        </button>
      </p>
      <code class="one-line">recorded {preview(found.recorded, 300)}</code>
      <code class="one-line">now {preview(found.actual, 300)}</code>
      {found.code && <p class="quiet">{plain(found.code)}</p>}
      <Changes changes={found.diff.slice(0, 40)} was="recorded" now="now" />
    </div>
  );
}
