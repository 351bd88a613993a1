// The list of sessions, with what was forked from what.

import { computed, effect, signal } from "@preact/signals";
import { source } from "../data/source";
import type { About, Listed, Listing, Problem } from "../data/types";
import { problemOf } from "./details";
import { session } from "./view";

export const about = signal<About | null>(null);
export const listing = signal<Listing | null>(null);
export const listingProblem = signal<Problem | null>(null);
export const asked = signal("");
export const askedStatus = signal("");
export const askedAgent = signal("");
export const busy = signal(false);

const PAGE = 200;
/** Milliseconds between two looks at the list, and more where one takes long. */
const EVERY = 5000;

export interface Branch {
  listed: Listed;
  depth: number;
}

/** The listed sessions, each under what it comes from where that is listed too. */
export const branches = computed<Branch[]>(() => {
  const all = listing.value?.sessions ?? [];
  const known = new Set(all.map((each) => each.id));
  const below = new Map<string | null, Listed[]>();
  for (const each of all) {
    const parent = each.parent !== null && known.has(each.parent) && each.parent !== each.id ? each.parent : null;
    below.set(parent, [...(below.get(parent) ?? []), each]);
  }
  const found: Branch[] = [];
  const seen = new Set<string>();
  const walk = (parent: string | null, depth: number) => {
    const children = below.get(parent) ?? [];
    for (const listed of children) {
      if (seen.has(listed.id)) continue;
      seen.add(listed.id);
      found.push({ listed, depth });
      walk(listed.id, depth + 1);
    }
  };
  walk(null, 0);
  return found;
});

export const current = computed(() => listing.value?.sessions.find((each) => each.id === session.value) ?? null);

/** The branches of the same source, in the order of the list, the shown one among them. */
export function siblings(): string[] {
  const own = current.value;
  return own ? branches.value.filter((each) => each.listed.parent === own.parent).map((each) => each.listed.id) : [];
}

let latest = 0;

async function list(offset: number): Promise<void> {
  const turn = ++latest;
  busy.value = true;
  try {
    const query = { q: asked.value, status: askedStatus.value, agent: askedAgent.value, sort: "updated", limit: PAGE, offset };
    const found = await source.get<Listing>("sessions", query);
    if (turn !== latest) return;
    listing.value = offset ? { ...found, sessions: [...(listing.value?.sessions ?? []), ...found.sessions] } : found;
    listingProblem.value = null;
  } catch (error) {
    if (turn === latest) listingProblem.value = problemOf(error);
  } finally {
    if (turn === latest) busy.value = false;
  }
}

export const refresh = () => list(0);
export const more = () => list(listing.value?.sessions.length ?? 0);

/** Lists sessions as the filter changes, and now and then, while the page is looked at. */
export function keepListed(): void {
  let timer = 0;
  effect(() => {
    asked.value, askedStatus.value, askedAgent.value;
    clearTimeout(timer);
    timer = window.setTimeout(() => void refresh(), listing.peek() ? 120 : 0);
  });
  if (source.live) {
    const again = async () => {
      const begun = performance.now();
      const paged = (listing.value?.sessions.length ?? 0) > PAGE;
      if (!document.hidden && !busy.value && !paged) await refresh();
      // what is written to meanwhile is read again for the list: of a long session not too often
      setTimeout(() => void again(), Math.min(Math.max(EVERY, 40 * (performance.now() - begun)), 60_000));
    };
    setTimeout(() => void again(), EVERY);
  }
}

export async function learn(): Promise<void> {
  try {
    about.value = await source.get<About>("about");
  } catch (error) {
    listingProblem.value = problemOf(error);
  }
}
