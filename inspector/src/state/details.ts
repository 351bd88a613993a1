// What is known about the selected event and the cut after it: asked for when it is looked at, kept while it is true.

import { effect, signal } from "@preact/signals";
import { Refused } from "../data/contract";
import { source } from "../data/source";
import { type Detail, INDEX, type Problem, type Raw, type Spoken, type State } from "../data/types";
import { changed, rows, version } from "./rows";
import { cursor, session, tab } from "./view";

export interface Asked<T> {
  /** The event or the cut it is about. */
  at: number;
  value: T | null;
  problem: Problem | null;
}

const nothing = { at: -1, value: null, problem: null };
export const detail = signal<Asked<Detail>>(nothing);
export const state = signal<Asked<State>>(nothing);
export const raw = signal<Asked<Raw>>(nothing);
export const conversation = signal<Asked<Spoken>>(nothing);
/** How many messages of the conversation are shown. */
export const PAGE = 12;
export const messagesShown = signal(PAGE);

const KEPT = 400;
const AROUND = 10;
const held = new Map<number, Detail>();
const states = new Map<number, State>();

changed.addEventListener("row", (event) => {
  const index = (event as CustomEvent<number | null>).detail;
  if (index === null) held.clear(), states.clear();
  else held.delete(index);
});

function remember<T>(map: Map<number, T>, key: number, value: T): T {
  map.delete(key);
  map.set(key, value);
  if (map.size > KEPT) map.delete(map.keys().next().value!);
  return value;
}

/** Details of some events of the session that is shown, those already known first. */
export async function details(indexes: number[], abort?: AbortSignal): Promise<Detail[]> {
  const missing = indexes.filter((index) => !held.has(index));
  for (let from = 0; from < missing.length; from += 50) {
    const query = { session: session.value, at: missing.slice(from, from + 50).join(",") };
    const found = await source.get<{ events: Detail[] }>("events", query, abort);
    for (const each of found.events) remember(held, each.index, each);
  }
  return indexes.flatMap((index) => held.get(index) ?? []);
}

async function stateAt(at: number, abort: AbortSignal): Promise<State> {
  return states.get(at) ?? remember(states, at, await source.get<State>("state", { session: session.value, at }, abort));
}

const conversationAt = (at: number, abort: AbortSignal) =>
  source.get<Spoken>("conversation", { session: session.value, at, last: messagesShown.peek() }, abort);

export function problemOf(error: unknown): Problem {
  if (error instanceof Refused) return error.problem;
  return { code: "failed", message: error instanceof Error ? error.message : String(error) };
}

/** Asks for what the open tab shows of the place that is looked at. A scrub asks only where it rests. */
export function fetchWhatIsLookedAt(): void {
  let asking: AbortController | null = null;
  let timer = 0;
  effect(() => {
    const at = cursor.value;
    const open = tab.value;
    messagesShown.value;
    version.value;
    const row = rows[at - 1];
    clearTimeout(timer);
    if (session.value === null || !row) {
      asking?.abort();
      return;
    }
    const kept = held.get(row[INDEX]);
    if (kept && detail.peek().value !== kept) detail.value = { at: row[INDEX], value: kept, problem: null };
    const target = { detail: null, state, diff: state, messages: conversation, raw }[open];
    const key = open === "raw" ? row[INDEX] : at;
    if (kept && (target === null || (target.peek().at === key && target.peek().value && open !== "messages"))) return;
    timer = window.setTimeout(() => {
      asking?.abort();
      asking = new AbortController();
      void ask(row[INDEX], at, open, asking.signal);
    }, 30);
  });
}

async function ask(index: number, at: number, open: string, abort: AbortSignal): Promise<void> {
  const into = async <T>(target: { value: Asked<T> }, key: number, get: () => Promise<T | undefined>) => {
    try {
      const value = await get();
      if (!abort.aborted) target.value = { at: key, value: value ?? null, problem: value === undefined ? { code: "not_found", message: "nothing is known of it" } : null };
    } catch (error) {
      if (!abort.aborted) target.value = { at: key, value: null, problem: problemOf(error) };
    }
  };
  await into(detail, index, async () => (await details([index], abort))[0]);
  if (open === "state" || open === "diff") await into(state, at, () => stateAt(at, abort));
  if (open === "messages") await into(conversation, at, () => conversationAt(at, abort));
  if (open === "raw") await into(raw, index, () => source.get<Raw>("raw", { session: session.value, at: index }, abort));
  if (abort.aborted) return;
  const near = Array.from({ length: 2 * AROUND + 1 }, (_, n) => index - AROUND + n).filter((each) => each >= 0 && each < rows.length);
  await details(near, abort).catch(() => undefined); // not asked for: the place itself says what is wrong
}
