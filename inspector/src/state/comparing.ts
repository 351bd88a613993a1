// Two sessions side by side.

import { computed, effect, signal } from "@preact/signals";
import { source } from "../data/source";
import type { Compared, Pair, PairDetail, Problem } from "../data/types";
import { problemOf } from "./details";
import { tell } from "../parts/notices";
import { comparison, session } from "./view";

export const compared = signal<{ value: Compared | null; problem: Problem | null }>({ value: null, problem: null });
export const onlyDifferences = signal(false);
/** The pair that is looked at, by its place among all. */
export const pair = signal(0);
export const told = signal<{ at: number; value: PairDetail | null; problem: Problem | null }>({ at: -1, value: null, problem: null });

export const pairs = computed<number[]>(() => {
  const all = compared.value.value?.pairs ?? [];
  return all.flatMap((each, place) => (onlyDifferences.value && each[0] === "same" ? [] : [place]));
});

export const pairAt = (place: number): Pair | undefined => compared.value.value?.pairs[place];

function question() {
  return { left: session.value, right: comparison.value || null, by: "steps" };
}

export function nextDifference(by: 1 | -1): void {
  const all = compared.value.value?.pairs ?? [];
  for (let place = pair.value + by; place >= 0 && place < all.length; place += by) {
    if (all[place]![0] !== "same") return void (pair.value = place);
  }
  tell(by > 0 ? "No difference after this one" : "No difference before this one");
}

export function movePair(by: number): void {
  const list = pairs.value;
  const place = list.findIndex((each) => each >= pair.value);
  const next = list[Math.min(Math.max((place < 0 ? list.length : place) + by, 0), list.length - 1)];
  if (next !== undefined) pair.value = next;
}

export function keepCompared(): void {
  effect(() => {
    if (comparison.value === null || session.value === null) return;
    compared.value = { value: null, problem: null };
    const asked = question();
    source.get<Compared>("compare", asked).then(
      (value) => {
        if (asked.right !== (comparison.value || null) || asked.left !== session.value) return;
        compared.value = { value, problem: null };
        pair.value = value.first ?? 0;
      },
      (error: unknown) => (compared.value = { value: null, problem: problemOf(error) }),
    );
  });
  effect(() => {
    const at = pair.value;
    if (!compared.value.value?.pairs.length || comparison.value === null) return;
    source.get<PairDetail>("compare/pair", { ...question(), n: at }).then(
      (value) => pair.value === at && (told.value = { at, value, problem: null }),
      (error: unknown) => pair.value === at && (told.value = { at, value: null, problem: problemOf(error) }),
    );
  });
}
