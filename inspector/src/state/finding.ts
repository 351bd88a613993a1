// Looks for a text in everything that events say: a row has only its beginning.

import { effect } from "@preact/signals";
import { source } from "../data/source";
import type { Found } from "../data/types";
import { saying, total } from "./rows";
import { find, session } from "./view";

const AFTER_TYPING = 150;
const AFTER_EVENTS = 1000;

/** Asks again as the text changes, and of the events that came since. */
export function findWhatIsLookedFor(): void {
  let asking: AbortController | null = null;
  let timer = 0;
  let known = { session: "", text: "", next: 0 };
  let found = new Set<number>();

  const ask = async (id: string, text: string, from: number, abort: AbortSignal) => {
    for (let next: number | null = from; next !== null; ) {
      const answer: Found = await source.get<Found>("find", { session: id, q: text, after: next }, abort);
      for (const hit of answer.hits) found.add(hit);
      next = answer.next;
      known.next = next ?? answer.size;
      saying.value = { text, found: new Set(found), done: next === null };
    }
  };
  effect(() => {
    const text = find.value.trim().toLowerCase();
    const id = session.value;
    const all = total.value;
    const same = id === known.session && text === known.text && all >= known.next;
    if (same && (all === known.next || asking !== null)) return;
    clearTimeout(timer);
    asking?.abort();
    asking = null;
    if (!same) {
      known = { session: id ?? "", text, next: 0 };
      found = new Set();
      saying.value = { text, found, done: !text };
    }
    if (!text || id === null) return;
    timer = window.setTimeout(
      () => {
        const own = (asking = new AbortController());
        ask(id, text, known.next, own.signal)
          .catch(() => own.signal.aborted || (saying.value = { ...saying.peek(), done: true })) // the rows' own texts are still found
          .finally(() => asking === own && (asking = null));
      },
      same ? AFTER_EVENTS : AFTER_TYPING,
    );
  });
}
