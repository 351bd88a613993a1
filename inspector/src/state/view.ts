// What the page shows, as its URL says it: #/s/ID@37?tab=state&cmp=ID2&f=tool,error&q=refund&deltas=1

import { batch, effect, signal } from "@preact/signals";

export const TABS = ["detail", "state", "diff", "messages", "raw"] as const;
export type Tab = (typeof TABS)[number];

export const CATEGORIES = ["model", "tool", "message", "state", "run", "error"] as const;
export type Category = (typeof CATEGORIES)[number];

/** The session that is shown, by its id. */
export const session = signal<string | null>(null);
/** The cut that is looked at: how many events are kept. The event before it is the selected one. */
export const cursor = signal(0);
/** A cut from the URL that waits for its rows; null: the end. */
export const wanted = signal<number | null>(null);
export const tab = signal<Tab>("detail");
/** What is compared with the session: another's id, "" for what it was forked from, null for no comparison. */
export const comparison = signal<string | null>(null);
export const categories = signal<ReadonlySet<Category>>(new Set());
export const find = signal("");
/** Whether deltas are shown that a message or an outcome has closed. */
export const deltas = signal(false);

const encoded = (id: string) => encodeURIComponent(id).replaceAll("%2F", "/");

/** The fragment for a place. A cut is left out at the end of a session that is followed. */
export function fragment(id: string | null, at: number | null, more: URLSearchParams = new URLSearchParams()): string {
  if (id === null) return "#/";
  const query = more.toString().replaceAll("%2C", ",");
  return `#/s/${encoded(id)}${at === null ? "" : `@${at}`}${query ? `?${query}` : ""}`;
}

export function here(): string {
  const more = new URLSearchParams();
  if (tab.value !== "detail") more.set("tab", tab.value);
  if (comparison.value !== null) more.set("cmp", comparison.value);
  if (categories.value.size) more.set("f", [...categories.value].join(","));
  if (find.value) more.set("q", find.value);
  if (deltas.value) more.set("deltas", "1");
  return fragment(session.value, cursor.value || wanted.value, more);
}

/** Takes the view from the URL. */
export function arrive(): void {
  const [, place = "", query = ""] = /^#?\/?([^?]*)\??(.*)$/.exec(location.hash) ?? [];
  const more = new URLSearchParams(query);
  const found = /^s\/(.+?)(?:@(\d+))?$/.exec(place);
  const asked = more.get("tab") as Tab | null;
  batch(() => {
    const id = found ? decoded(found[1]!) : null;
    const at = found?.[2] ? Number(found[2]) : null;
    if (id !== session.value) {
      cursor.value = 0;
      session.value = id;
    } else if (at !== null) {
      cursor.value = at;
    }
    wanted.value = at;
    tab.value = asked && TABS.includes(asked) ? asked : "detail";
    comparison.value = more.get("cmp");
    categories.value = new Set((more.get("f") ?? "").split(",").filter((each): each is Category => CATEGORIES.includes(each as Category)));
    find.value = more.get("q") ?? "";
    deltas.value = more.has("deltas");
  });
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // typed by hand
  }
}

/** Shows another session; the way back leads here. */
export function visit(id: string | null, at: number | null = null): void {
  write();
  history.pushState(null, "", fragment(id, at));
  arrive();
}

let writing = 0;

function write(): void {
  clearTimeout(writing);
  const now = here();
  if (now !== location.hash) history.replaceState(null, "", now);
}

/** Keeps URL and view the same. Browsers refuse a URL that changes with every frame of a scrub, so it follows a little later. */
export function keepInUrl(): void {
  arrive();
  addEventListener("popstate", arrive);
  addEventListener("hashchange", arrive);
  effect(() => {
    here();
    clearTimeout(writing);
    writing = window.setTimeout(write, 200);
  });
}
