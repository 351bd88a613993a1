// The timeline's rows: read once, then as they come. Kept outside signals: 50,000 of them change by the thousand.

import { batch, computed, effect, signal } from "@preact/signals";
import { Refused } from "../data/contract";
import { source } from "../data/source";
import { type Head, INDEX, KIND, NAME, type Problem, type Row, STATUS, STEP, TEXT, TYPE } from "../data/types";
import { categories, type Category, cursor, deltas, find, session, wanted } from "./view";

export type Phase =
  | { name: "idle" }
  | { name: "loading" }
  | { name: "stopped" }
  | { name: "live" }
  | { name: "read" } // all there is, and no more will be asked for
  | { name: "sealed" }
  | { name: "reconnecting"; at: number; tries: number }
  | { name: "gone"; problem: Problem }
  | { name: "failed"; status: number; problem: Problem; path: string };

export const rows: Row[] = [];
/** Changes with the rows; who reads them reads this first. */
export const version = signal(0);
export const head = signal<Head | null>(null);
export const phase = signal<Phase>({ name: "idle" });
/** Events that came while an earlier one was looked at. */
export const fresh = signal(0);
/** Lines that were no JSON. */
export const unreadable = signal(0);
/** Indexes whose row changed: what was fetched about them is no longer true. */
export const changed = new EventTarget();

export const total = computed(() => (version.value, rows.length));
export const expected = computed(() => Math.max(head.value?.events ?? 0, total.value));
export const selected = computed(() => (version.value, rows[cursor.value - 1] ?? null));

const SPOKEN = new Set(["message", "delta", "tool_call"]);
const RUNS = new Set(["session", "run", "status", "claim", "rewind", "question", "answer"]);

export const failed = (row: Row) => row[TYPE] === "error" || row[STATUS] === "failed" || row[STATUS] === "exhausted";

/** What the filter calls an event; what fails is an error besides. */
export function category(row: Row): Exclude<Category, "error"> {
  const type = row[TYPE];
  if (SPOKEN.has(type)) return "message";
  if (RUNS.has(type) || type === "error") return "run";
  if (type === "step" || type === "outcome") return row[KIND] === "model" ? "model" : row[STEP] === null ? "run" : "tool";
  return "state"; // kept by the application or an integration, or of a type that is not known here
}

/** Deltas that say nothing new: of a step whose message or outcome stands after them. Empty where there are none. */
const closed = computed<ReadonlySet<number>>(() => {
  version.value;
  const found = new Set<number>();
  if (deltas.value) return found;
  const told = new Set<number>();
  for (let index = rows.length - 1; index >= 0; index--) {
    const row = rows[index]!;
    const step = row[STEP];
    if (step === null) continue;
    if (row[TYPE] === "delta") told.has(step) && found.add(index);
    else if (row[TYPE] === "message" || row[TYPE] === "outcome") told.add(step);
  }
  return found;
});

/** The rows that are listed, by index; null: all. */
export const shown = computed<Int32Array | null>(() => {
  version.value;
  const chosen = categories.value;
  const hidden = closed.value;
  if (!chosen.size && !hidden.size) return null;
  const found = new Int32Array(rows.length);
  let count = 0;
  for (let index = 0; index < rows.length; index++) {
    const row = rows[index]!;
    if (hidden.has(index)) continue;
    if (!chosen.size || chosen.has(category(row)) || (chosen.has("error") && failed(row))) found[count++] = index;
  }
  return found.subarray(0, count);
});

const sought = computed(() => find.value.trim().toLowerCase());
/** Events that say what is looked for somewhere in their whole text, as far as that is known. */
export const saying = signal<{ text: string; found: ReadonlySet<number>; done: boolean }>({ text: "", found: new Set(), done: true });

/** Whether an event holds what is looked for: in its row, or anywhere in what it says. */
export const holds = (row: Row) => sought.value !== "" && (inRow(row, sought.value) || (saying.value.text === sought.value && saying.value.found.has(row[INDEX])));

const inRow = (row: Row, text: string) =>
  row[TEXT].toLowerCase().includes(text) || row[NAME].toLowerCase().includes(text) || row[KIND].includes(text) || row[TYPE].includes(text);

/** The rows that hold what is looked for, by index. */
export const hits = computed<number[]>(() => {
  version.value;
  if (!sought.value) return [];
  const found: number[] = [];
  const hidden = closed.value;
  for (let index = 0; index < rows.length; index++) if (holds(rows[index]!) && !hidden.has(index)) found.push(index);
  return found;
});

let reading: AbortController | null = null;
/** Whether all that was there was read once: what comes after that is new. */
let known = false;

/** Reads the rest of the session that is shown, and follows it. */
export async function read(): Promise<void> {
  reading?.abort();
  const own = (reading = new AbortController());
  const id = session.value;
  if (id === null) return;
  phase.value = { name: "loading" };
  for (let tries = 0; !own.signal.aborted; tries++) {
    try {
      const before = rows.length;
      const query = { session: id, after: rows.length, live: source.live, incarnation: rows.length ? head.value?.incarnation : null };
      await source.lines("rows", query, (lines) => own.signal.aborted || take(lines), own.signal);
      if (own.signal.aborted) return;
      if (["sealed", "gone"].includes(phase.value.name)) return; // it said that no more will come
      if (!source.live) return void (phase.value = { name: "read" });
      if (rows.length > before) tries = 0;
    } catch (error) {
      if (own.signal.aborted) return;
      if (error instanceof Refused && error.status >= 400 && error.status < 500) {
        const { status, problem, path } = error;
        return void (phase.value = status === 410 ? { name: "gone", problem } : { name: "failed", status, problem, path });
      }
    }
    await patience(Math.min(500 * 2 ** tries, 10_000), tries, own.signal);
  }
}

/** Ends reading; what is there stays. */
export function stop(): void {
  reading?.abort();
  show();
  phase.value = { name: "stopped" };
}

let wake: (() => void) | null = null;

/** Does not wait any longer to reconnect. */
export const retry = () => (wake ? wake() : void read());

async function patience(ms: number, tries: number, signal: AbortSignal): Promise<void> {
  phase.value = { name: "reconnecting", at: Date.now() + ms, tries: tries + 1 };
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, ms);
    wake = () => (clearTimeout(timer), resolve());
    signal.addEventListener("abort", wake, { once: true });
  });
  wake = null;
}

function take(lines: unknown[]): void {
  const before = rows.length;
  const followed = known;
  let touched = false;
  batch(() => {
    for (const line of lines) {
      touched = true;
      if (Array.isArray(line)) put(line as Row);
      else if (typeof line === "object" && line !== null) news(line as Record<string, unknown>);
    }
    if (!touched) return;
    const more = rows.length - before;
    if (followed && more > 0) {
      if (cursor.value === before) cursor.value = rows.length;
      else fresh.value += more;
    } else if (more > 0 && wanted.value !== null && cursor.value !== wanted.value && rows.length >= wanted.value) {
      cursor.value = wanted.value;
    }
    known ? show() : showSoon();
  });
}

let showing = 0;

function show(): void {
  clearTimeout(showing);
  showing = 0;
  version.value++;
}

/** Not with every piece of a long session: the page would be drawn a hundred times before it is whole. */
function showSoon(): void {
  showing ||= window.setTimeout(show, version.peek() ? 80 : 0);
}

function put(row: Row): void {
  const index = row[0];
  if (index < rows.length) changed.dispatchEvent(new CustomEvent("row", { detail: index }));
  rows[index] = row;
}

function news(said: Record<string, unknown>): void {
  if ("head" in said) head.value = said["head"] as Head;
  else if ("reset" in said) forget(Number(said["reset"]));
  else if ("ready" in said) settle();
  else if ("sealed" in said) phase.value = { name: "sealed" };
  else if ("gone" in said) phase.value = { name: "gone", problem: said["gone"] as Problem };
  else if ("error" in said) throw new Refused(502, said["error"] as Problem, "rows");
  else if ("unreadable" in said) unreadable.value++;
}

function forget(from: number): void {
  rows.length = Math.min(rows.length, from);
  changed.dispatchEvent(new CustomEvent("row", { detail: null }));
  if (from === 0) fresh.value = 0;
}

/** All that was there is read: the cursor goes where the URL said, else to the end. */
function settle(): void {
  const place = wanted.value ?? cursor.value;
  cursor.value = wanted.value === null && cursor.value === 0 ? rows.length : Math.min(Math.max(place, Math.min(1, rows.length)), rows.length);
  wanted.value = null;
  known = true;
  phase.value = { name: head.value?.sealed ? "sealed" : source.live ? "live" : "read" };
}

/** Reads whichever session the view names. */
export function followTheView(): void {
  effect(() => {
    session.value;
    batch(() => {
      rows.length = 0;
      known = false;
      head.value = null;
      fresh.value = 0;
      unreadable.value = 0;
      version.value = version.peek() + 1;
      phase.value = { name: "idle" };
    });
    changed.dispatchEvent(new CustomEvent("row", { detail: null }));
    queueMicrotask(() => void read());
  });
  effect(() => {
    if (cursor.value === rows.length) fresh.value = 0;
  });
  document.addEventListener("visibilitychange", restWhileHidden);
}

const REST_AFTER = 30_000;
let resting = 0;

/** A page that nobody looks at follows nothing: browsers have six connections for all the tabs of one server. */
function restWhileHidden(): void {
  clearTimeout(resting);
  if (document.hidden) {
    resting = window.setTimeout(() => {
      if (!["live", "reconnecting"].includes(phase.value.name)) return;
      reading?.abort();
      resting = -1;
    }, REST_AFTER);
  } else if (resting === -1) {
    void read();
  }
}
