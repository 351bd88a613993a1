// Moving through the timeline.

import { signal } from "@preact/signals";
import { AT, KIND, type Row, STEP, TYPE } from "../data/types";
import { failed, hits, rows, shown, total } from "./rows";
import { comparison, cursor, session } from "./view";

/** The cut after event `index` is looked at from now on. */
export function select(index: number): void {
  if (rows.length) cursor.value = Math.min(Math.max(index + 1, 1), rows.length);
}

export function seek(cut: number): void {
  select(cut - 1);
}

/** The first place of `index` or a later one in what the filter shows. */
export function placeOf(index: number): number {
  const list = shown.value;
  if (!list) return index;
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle]! < index) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** To the next row of those shown, by `by` places. */
export function move(by: number): void {
  const list = shown.value;
  if (!list) return select(cursor.value - 1 + by);
  const place = placeOf(cursor.value - 1);
  const on = list[place] === cursor.value - 1;
  const next = Math.min(Math.max(place + (on || by < 0 ? by : by - 1), 0), list.length - 1);
  if (list.length) select(list[next]!);
}

/** To the next row after (or before) the selected one that fits; stays where there is none. */
export function moveTo(fits: (row: Row) => boolean, by: 1 | -1): boolean {
  for (let index = cursor.value - 1 + by; index >= 0 && index < rows.length; index += by) {
    if (fits(rows[index]!)) {
      select(index);
      return true;
    }
  }
  return false;
}

export function moveSameKind(by: 1 | -1): boolean {
  const row = rows[cursor.value - 1];
  return row !== undefined && moveTo((other) => other[TYPE] === row[TYPE] && other[KIND] === row[KIND], by);
}

export const moveToError = (by: 1 | -1) => moveTo(failed, by);

export function moveToHit(by: 1 | -1): boolean {
  const found = hits.value;
  const next = by > 0 ? found.find((index) => index > cursor.value - 1) : found.findLast((index) => index < cursor.value - 1);
  if (next === undefined) return false;
  select(next);
  return true;
}

export const moveToStep = (number: number) => {
  const index = rows.findIndex((row) => row[STEP] === number && row[TYPE] === "step");
  if (index >= 0) select(index);
  return index >= 0;
};

export const first = () => select(shown.value?.[0] ?? 0);
export const last = () => select(shown.value?.at(-1) ?? total.value - 1);
export const goLive = () => select(total.value - 1);

// --- playing ---------------------------------------------------------------------------------------------------------

export const SPEEDS = [1, 2, 5, 20] as const;
export const playing = signal(false);
export const speed = signal<(typeof SPEEDS)[number]>(1);
/** Steps of the shown session at which playing stops, and a replay can. */
export const breaks = signal<ReadonlySet<number>>(new Set());

let timer = 0;

/** From event to event as they came, but never slower than one a second. */
function tick(): void {
  const list = shown.value;
  const at = cursor.value - 1;
  const place = placeOf(at + 1);
  const next = list ? list[place] : place < rows.length ? place : undefined;
  if (next === undefined || comparison.value !== null) return pause();
  select(next);
  const row = rows[next]!;
  if (row[TYPE] === "step" && row[STEP] !== null && breaks.value.has(row[STEP])) return pause();
  const after = rows[next + 1];
  const gap = after && after[AT] !== null && row[AT] !== null ? after[AT] - row[AT] : 250;
  timer = window.setTimeout(tick, Math.min(Math.max(gap, 80), 1000) / speed.value);
}

export function play(): void {
  if (!rows.length) return;
  if (cursor.value >= rows.length) cursor.value = 1;
  playing.value = true;
  clearTimeout(timer);
  timer = window.setTimeout(tick, 150 / speed.value);
}

export function pause(): void {
  clearTimeout(timer);
  playing.value = false;
}

export const togglePlay = () => (playing.value ? pause() : play());

export function toggleBreak(): void {
  const row = rows[cursor.value - 1];
  if (!row || row[STEP] === null) return;
  const next = new Set(breaks.value);
  if (!next.delete(row[STEP])) next.add(row[STEP]);
  breaks.value = next;
}

export function endPlayWithTheSession(): void {
  session.subscribe(() => {
    pause();
    breaks.value = new Set();
  });
}

