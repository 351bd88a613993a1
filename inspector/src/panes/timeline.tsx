// The events of a session, one a row.

import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { COST, DEPTH, FORKS, IN, INDEX, KIND, MARK, MS, NAME, OUT, type Row, STATUS, STEP, TEXT, TYPE } from "../data/types";
import { compact, dollars, duration, grouped, plain } from "../parts/format";
import { reveal, Window } from "../parts/window";
import { breaks, goLive, moveToHit, placeOf, select } from "../state/moving";
import { category, failed, fresh, hits, holds, phase, rows, saying, shown, total, version } from "../state/rows";
import { CATEGORIES, categories, type Category, cursor, deltas, find } from "../state/view";
import { Strip } from "./strip";

const HEIGHT = 26;
const LABELS: Record<Category, string> = { model: "Model", tool: "Tool", message: "Message", state: "State", run: "Run", error: "Error" };
const ICONS = new Set(["outcome", "message", "delta", "run", "status", "session", "claim", "question", "answer", "error", "rewind"]);

function iconOf(row: Row): string {
  const type = row[TYPE];
  if (type === "step") return row[KIND] === "model" ? "model" : "tool";
  if (type === "tool_call") return "tool";
  return ICONS.has(type) ? type : KEPT.has(type) ? "state" : "other";
}
const TONES: Record<string, string> = { finished: "quiet", answered: "quiet", running: "good", open: "warn", waiting: "warn", unknown: "bad", failed: "bad", locked: "quiet" };
const KEPT = new Set(["state", "checkpoint", "write", "item"]);

export function Timeline(): JSX.Element {
  const scroller = useRef<HTMLDivElement>(null);
  version.value; // a row may change where none is added
  const list = shown.value;
  const count = list ? list.length : total.value;
  const place = placeOf(cursor.value - 1);

  useEffect(() => {
    if (cursor.value > 0 && scroller.current) reveal(scroller.current, place, HEIGHT);
  }, [place, list === null]);

  return (
    <section class="timeline pane" aria-label="Timeline">
      <div class="pane-head">
        <Filter />
        <Find />
      </div>
      <Strip />
      <div class="scroll rows" data-scroll ref={scroller} role="listbox" aria-label="Events" tabIndex={0} style={{ "--digits": String(total.value).length }} aria-activedescendant={cursor.value ? `event-${cursor.value - 1}` : undefined}>
        {phase.value.name === "loading" && !count && <div class="skeleton" role="progressbar" aria-label="Loading" />}
        {phase.value.name !== "loading" && !count && total.value > 0 && <p class="quiet pad">No event of this kind.</p>}
        <Window count={count} height={HEIGHT} render={(at) => <Event key={at} row={rows[list ? list[at]! : at]!} />} />
      </div>
      {fresh.value > 0 && (
        <button class="pill" onClick={goLive}>
          {grouped(fresh.value)} new ↓
        </button>
      )}
    </section>
  );
}

function Event({ row }: { row: Row }): JSX.Element {
  const at = row[INDEX];
  const type = row[TYPE];
  const stepped = type === "step" || type === "outcome";
  const label = stepped ? row[KIND] || (row[STEP] === null ? "run" : type) : type || "unknown";
  const classes = [
    "row",
    category(row),
    failed(row) ? "failed" : "",
    row[MARK] ? "marked" : "",
    at >= cursor.value ? "after" : "",
    type === "delta" || type === "claim" || type === "item" ? "minor" : "",
    holds(row) ? "hit" : "",
    type === "step" && row[STEP] !== null && breaks.value.has(row[STEP]) ? "break" : "",
  ];
  const told = row[MARK] ?? (row[STATUS] !== "finished" || type === "status" ? row[STATUS] : "");
  return (
    <div
      id={`event-${at}`}
      role="option"
      aria-selected={at === cursor.value - 1}
      class={classes.filter(Boolean).join(" ")}
      onClick={() => select(at)}
    >
      <span class="index">{at}</span>
      <span class="kind" data-icon={iconOf(row)}>
        {plain(label)}
      </span>
      <span class="what" dir="auto" style={row[DEPTH] ? { marginLeft: `${Math.min(row[DEPTH], 8) * 14}px` } : undefined}>
        {row[NAME] && type !== "status" && type !== "delta" && <b>{plain(row[NAME])} </b>}
        {told && <i data-tone={TONES[told]}>{plain(told)} </i>}
        {plain(row[TEXT])}
      </span>
      {(row[MS] !== null || row[IN] !== null || row[COST] !== null) && type !== "step" && (
        <span class="took">
          {row[IN] !== null && `${compact(row[IN])}↑ ${compact(row[OUT] ?? 0)}↓  `}
          {row[COST] !== null && `${dollars(row[COST])}  `}
          {duration(row[MS])}
        </span>
      )}
      {row[FORKS] > 0 && <span class="forks" data-icon="fork" title={`${row[FORKS]} forked after this event`}>{row[FORKS]}</span>}
    </div>
  );
}

function Filter(): JSX.Element {
  const chosen = categories.value;
  const toggle = (each: Category) => {
    const next = new Set(chosen);
    if (!next.delete(each)) next.add(each);
    categories.value = next;
  };
  return (
    <div class="segments" role="group" aria-label="Kinds of events">
      <button aria-pressed={!chosen.size} onClick={() => (categories.value = new Set())}>
        All
      </button>
      {CATEGORIES.map((each) => (
        <button key={each} aria-pressed={chosen.has(each)} onClick={() => toggle(each)} title={each === "tool" ? "Tools and all other steps that are no model" : undefined}>
          {LABELS[each]}
        </button>
      ))}
      <button data-icon="delta" aria-pressed={deltas.value} aria-label="Deltas" title="Deltas that a message or an outcome has closed (d)" onClick={() => (deltas.value = !deltas.value)} />
    </div>
  );
}

function Find(): JSX.Element {
  const found = hits.value;
  const place = found.indexOf(cursor.value - 1);
  return (
    <div class="find">
      <input
        id="find"
        type="search"
        placeholder="Find  /"
        aria-label="Find in the session"
        value={find.value}
        onInput={(event) => (find.value = event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "Enter") {
            event.preventDefault();
            moveToHit(event.shiftKey ? -1 : 1);
          }
        }}
      />
      {find.value.trim() && (
        <>
          <span class="count" role="status" aria-busy={!saying.value.done}>
            {place >= 0 ? `${grouped(place + 1)}/` : ""}
            {grouped(found.length)}
            {saying.value.done ? "" : "…"}
          </span>
          <button class="plain icon" data-icon="previous" aria-label="Previous match" title="Previous match (N)" disabled={!found.length} onClick={() => moveToHit(-1)} />
          <button class="plain icon" data-icon="next" aria-label="Next match" title="Next match (n)" disabled={!found.length} onClick={() => moveToHit(1)} />
        </>
      )}
    </div>
  );
}
