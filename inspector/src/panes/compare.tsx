// Two sessions side by side, step by step.

import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { Pair, Told } from "../data/types";
import { Changes } from "../parts/changes";
import { plain } from "../parts/format";
import { preview } from "../parts/lines";
import { reveal, Window } from "../parts/window";
import { compared, nextDifference, onlyDifferences, pair, pairAt, pairs, told } from "../state/comparing";
import { comparison, visit } from "../state/view";

const HEIGHT = 26;
const WORDS: Record<string, string> = {
  same: "same",
  different_args: "asked otherwise",
  different_output: "came out otherwise",
  missing_call: "only on the left",
  extra_call: "only on the right",
};

export function Compare(): JSX.Element {
  const scroller = useRef<HTMLDivElement>(null);
  const { value, problem } = compared.value;
  const list = pairs.value;
  const place = list.indexOf(pair.value);
  useEffect(() => {
    if (place >= 0 && scroller.current) reveal(scroller.current, place, HEIGHT);
  }, [place, value]);

  if (problem) {
    return (
      <section class="compare pane" aria-label="Comparison">
        <div class="card bad pad" role="alert">
          <p>{plain(problem.message)}</p>
          {problem.hint && <p class="quiet">{plain(problem.hint)}</p>}
          <button onClick={() => (comparison.value = null)}>Close</button>
        </div>
      </section>
    );
  }
  if (!value) {
    return (
      <section class="compare pane" aria-label="Comparison">
        <div class="skeleton" role="progressbar" aria-label="Loading" />
      </section>
    );
  }
  const first = value.first === null ? null : value.pairs[value.first]!;
  return (
    <section class="compare pane" aria-label="Comparison">
      <div class="pane-head compare-head">
        <p>
          {first === null ? (
            <b>All {value.same} steps are the same.</b>
          ) : (
            <>
              <b>First difference: step {first[1] ?? first[2]}</b> {plain(first[6])} <code>{plain(first[7])}</code> <span class="quiet">{value.same} the same, {value.differ} not</span>
            </>
          )}
        </p>
        <div class="buttons">
          <button onClick={() => nextDifference(-1)} disabled={value.identical} title="N">
            Previous difference
          </button>
          <button onClick={() => nextDifference(1)} disabled={value.identical} title="n">
            Next difference
          </button>
          <button aria-pressed={onlyDifferences.value} onClick={() => (onlyDifferences.value = !onlyDifferences.value)}>
            Only differences
          </button>
          <button onClick={() => (comparison.value = null)} title="c">
            Close
          </button>
        </div>
      </div>
      <div class="pair head">
        <button class="link" onClick={() => visit(value.left.session)}>
          {plain(value.left.session)}
        </button>
        <span />
        <button class="link" onClick={() => visit(value.right.session)}>
          {plain(value.right.session)}
        </button>
      </div>
      <div class="scroll" data-scroll ref={scroller} role="listbox" aria-label="Steps of both" tabIndex={0}>
        {!list.length && <p class="quiet pad">Nothing differs.</p>}
        <Window
          count={list.length}
          height={HEIGHT}
          render={(at) => {
            const number = list[at]!;
            return <PairRow key={number} number={number} pair={pairAt(number)!} />;
          }}
        />
      </div>
      <Looked />
    </section>
  );
}

function PairRow({ number, pair: [kind, left, right, , , stepKind, name] }: { number: number; pair: Pair }): JSX.Element {
  const side = (step: number | null) => (step === null ? "" : `${step}  ${plain(stepKind)} ${plain(name)}`);
  return (
    <div class="pair" role="option" data-kind={kind} aria-selected={number === pair.value} onClick={() => (pair.value = number)}>
      <span>{side(left)}</span>
      <span class="how">{WORDS[kind] ?? kind}</span>
      <span>{side(right)}</span>
    </div>
  );
}

/** The pair that is looked at, in full. */
function Looked(): JSX.Element | null {
  const found = told.value;
  const at = pairAt(pair.value);
  const both = compared.value.value!;
  if (!at || found.at !== pair.value) return <div class="looked scroll" data-scroll />;
  return (
    <div class="looked scroll" data-scroll tabIndex={0} role="region" aria-label="The chosen pair">
      {found.problem && <p class="card bad">{plain(found.problem.message)}</p>}
      {found.value && (
        <>
          <div class="pair-sides">
            <Side told={found.value.left} go={at[3] === null ? null : () => visit(both.left.session, at[3]! + 1)} />
            <Side told={found.value.right} go={at[4] === null ? null : () => visit(both.right.session, at[4]! + 1)} />
          </div>
          <Changes changes={found.value.diff} was="left" now="right" />
        </>
      )}
    </div>
  );
}

function Side({ told: side, go }: { told: Told | null; go: (() => void) | null }): JSX.Element {
  if (!side) return <div class="quiet">Not here.</div>;
  const { outcome } = side;
  return (
    <div>
      <code class="one-line">{preview(side.input ?? null, 300)}</code>
      <code class="one-line">{outcome ? (outcome.error ? `✗ ${plain(outcome.error.name ?? "")}: ${plain(outcome.error.text ?? "")}` : preview(outcome.result ?? null, 300)) : "no outcome"}</code>
      {go && (
        <button class="link" onClick={go}>
          Open
        </button>
      )}
    </div>
  );
}
