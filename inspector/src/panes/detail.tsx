// Everything about the selected event and the cut after it.

import type { JSX } from "preact";
import { INDEX, KIND, NAME, type Row, STATUS, STEP, TYPE } from "../data/types";
import { open } from "../parts/dialog";
import { grouped, plain } from "../parts/format";
import { copy, tell } from "../parts/notices";
import { mayWrite } from "../state/commands";
import { type Asked, conversation, detail, raw, state } from "../state/details";
import { breaks, toggleBreak } from "../state/moving";
import { failed, selected } from "../state/rows";
import { cursor, tab, TABS, type Tab } from "../state/view";
import { Changes } from "../parts/changes";
import { Conversation } from "./messages";
import { RawText } from "./raw";
import { EventDetail } from "./event";
import { Tree } from "../parts/tree";
import type { Json } from "../data/types";
import { source } from "../data/source";
import { Boundary } from "../parts/boundary";

const TITLES: Record<Tab, string> = { detail: "Detail", state: "State", diff: "Diff", messages: "Messages", raw: "Raw" };

export function Detail(): JSX.Element {
  const row = selected.value;
  if (!row) {
    return (
      <section class="detail pane" aria-label="Event">
        <p class="quiet pad">No event is selected.</p>
      </section>
    );
  }
  return (
    <section class="detail pane" aria-label="Event">
      <Title row={row} />
      <div class="tabs" role="tablist" aria-label="Views of this event">
        {TABS.map((name, place) => (
          <button key={name} id={`tab-${name}`} role="tab" aria-selected={tab.value === name} aria-controls="tab-panel" tabIndex={tab.value === name ? 0 : -1} onClick={() => (tab.value = name)} onKeyDown={(event) => alongTabs(event, place)}>
            {TITLES[name]}
            <kbd>{place + 1}</kbd>
          </button>
        ))}
      </div>
      <div class="scroll body" data-scroll id="tab-panel" role="tabpanel" aria-labelledby={`tab-${tab.value}`} tabIndex={0}>
        <Boundary of={`${tab.value} ${row[INDEX]}`}>
          <Body row={row} />
        </Boundary>
      </div>
      <Actions row={row} />
    </section>
  );
}

function alongTabs(event: KeyboardEvent, place: number): void {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!by) return;
  event.preventDefault();
  tab.value = TABS[(place + by + TABS.length) % TABS.length]!;
  requestAnimationFrame(() => document.getElementById(`tab-${tab.value}`)?.focus());
}

function Title({ row }: { row: Row }): JSX.Element {
  const stepped = row[STEP] !== null;
  return (
    <div class="pane-head event-title">
      <h2>
        <span class="quiet">{grouped(row[INDEX])}</span> {plain(row[TYPE] || "unknown")}
        {stepped && <span class="quiet"> step:{row[STEP]}</span>}
        {row[KIND] && <span> {plain(row[KIND])}</span>}
        {row[NAME] && <b> {plain(row[NAME])}</b>}
      </h2>
      {row[STATUS] && (
        <span class="badge" data-tone={failed(row) ? "bad" : row[STATUS] === "finished" ? "good" : "warn"}>
          {plain(row[STATUS])}
        </span>
      )}
    </div>
  );
}

function Body({ row }: { row: Row }): JSX.Element {
  switch (tab.value) {
    case "detail":
      return <Loaded asked={detail.value} at={row[INDEX]} show={(found) => <EventDetail detail={found} />} />;
    case "state":
      return <Loaded asked={state.value} at={cursor.value} show={({ diff: _, cuts: __, ...rest }) => <Tree value={rest as Json} label={`State with ${cursor.value} events`} />} />;
    case "diff":
      return (
        <Loaded
          asked={state.value}
          at={cursor.value}
          show={({ diff }) => (
            <>
              <p class="quiet">What this event changed in the state.</p>
              <Changes changes={diff ?? []} was="before" now="after" />
            </>
          )}
        />
      );
    case "messages":
      return <Loaded asked={conversation.value} at={cursor.value} show={(found) => <Conversation spoken={found} />} />;
    case "raw":
      return <Loaded asked={raw.value} at={row[INDEX]} show={(found) => <RawText raw={found} />} />;
  }
}

/** What was asked for; what was there before stays until it has come, so that nothing flickers. */
function Loaded<T>({ asked, at, show }: { asked: Asked<T>; at: number; show: (value: T) => JSX.Element }): JSX.Element {
  if (asked.at === at && asked.problem) {
    return (
      <div class="card bad" role="alert">
        <p>{plain(asked.problem.message)}</p>
        {asked.problem.hint && <p class="quiet">{plain(asked.problem.hint)}</p>}
      </div>
    );
  }
  if (asked.value === null) return <div class="skeleton" role="progressbar" aria-label="Loading" />;
  return (
    <div class="loaded" aria-busy={asked.at !== at}>
      {show(asked.value)}
    </div>
  );
}

function Actions({ row }: { row: Row }): JSX.Element {
  const stepped = row[STEP] !== null;
  const broken = stepped && breaks.value.has(row[STEP]!);
  const commands = detail.value.value?.index === row[INDEX] ? detail.value.value.commands : null;
  return (
    <div class="actions">
      {mayWrite.value && (
        <>
          <button onClick={() => (open.value = "fork")} title="f">
            Fork here…
          </button>
          <button onClick={() => (open.value = "replay")} title="r">
            Replay to here…
          </button>
        </>
      )}
      {stepped && (
        <button aria-pressed={broken} onClick={toggleBreak} title="b">
          {broken ? "Do not stop here" : "Stop here"}
        </button>
      )}
      {source.compares && (
        <button onClick={() => (open.value = "compare")} title="c">
          Compare…
        </button>
      )}
      <button
        onClick={() => {
          const command = commands?.["show"];
          command ? void copy(command, "the command") : tell("Still loading");
        }}
      >
        Copy command
      </button>
    </div>
  );
}
