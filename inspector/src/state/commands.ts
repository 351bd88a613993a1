// Everything a key or the palette can do, once.

import { computed, signal } from "@preact/signals";
import { source } from "../data/source";
import { close, open, type Open } from "../parts/dialog";
import { copy, tell } from "../parts/notices";
import { movePair, nextDifference } from "./comparing";
import { first, goLive, last, move, moveSameKind, moveToError, moveToHit, toggleBreak, togglePlay } from "./moving";
import { head, rows, selected } from "./rows";
import { about, current, siblings } from "./sessions";
import { nextTheme } from "./theme";
import { comparison, deltas, find, here, session, TABS, tab, visit } from "./view";

export interface Command {
  keys: string[];
  label: string;
  group: "Move" | "Look" | "Branches" | "Page";
  run: () => void;
  /** Left out where it cannot be done. */
  when?: () => boolean;
}

export const mayWrite = computed(() => source.live && about.value !== null && !about.value.readOnly);
/** Whether the list of sessions is open where there is no room for it beside the timeline. */
export const listOpen = signal(false);

const inSession = () => session.value !== null && rows.length > 0;
const comparing = () => comparison.value !== null;
const say = (found: boolean, otherwise: string) => void (found || tell(otherwise));
const dialog = (name: Open) => () => void (open.value = name);

function toSibling(by: 1 | -1): void {
  const all = siblings();
  const next = all[all.indexOf(session.value ?? "") + by];
  next === undefined ? tell("No other branch there") : visit(next);
}

function toParent(): void {
  const parent = current.value?.parent ?? head.value?.lineage?.source;
  parent ? visit(parent, head.value?.lineage?.count ?? null) : tell("Nothing was this session forked from");
}

function compare(): void {
  if (comparing()) comparison.value = null;
  else open.value = "compare";
}

export function copyLink(): void {
  void copy(location.origin === "null" || location.protocol === "file:" ? here() : `${location.origin}/${here()}`, "a link to this view");
}

export const focusOn = (id: string) => {
  const field = document.getElementById(id) as HTMLInputElement | null;
  field?.focus();
  field?.select();
};

export const COMMANDS: Command[] = [
  { keys: ["j", "ArrowDown"], label: "Next event", group: "Move", run: () => (comparing() ? movePair(1) : move(1)), when: inSession },
  { keys: ["k", "ArrowUp"], label: "Previous event", group: "Move", run: () => (comparing() ? movePair(-1) : move(-1)), when: inSession },
  { keys: ["J"], label: "Next of the same kind", group: "Move", run: () => say(moveSameKind(1), "None of this kind after it"), when: inSession },
  { keys: ["K"], label: "Previous of the same kind", group: "Move", run: () => say(moveSameKind(-1), "None of this kind before it"), when: inSession },
  { keys: ["e"], label: "Next error", group: "Move", run: () => say(moveToError(1), "No error after this"), when: inSession },
  { keys: ["E"], label: "Previous error", group: "Move", run: () => say(moveToError(-1), "No error before this"), when: inSession },
  { keys: ["n"], label: "Next find hit or difference", group: "Move", run: () => (comparing() ? nextDifference(1) : say(moveToHit(1), find.value ? "No hit after this" : "Nothing is looked for: press /")), when: inSession },
  { keys: ["N"], label: "Previous find hit or difference", group: "Move", run: () => (comparing() ? nextDifference(-1) : say(moveToHit(-1), find.value ? "No hit before this" : "Nothing is looked for: press /")), when: inSession },
  { keys: ["g", "Home"], label: "First event", group: "Move", run: first, when: inSession },
  { keys: ["G", "End"], label: "Last event", group: "Move", run: last, when: inSession },
  { keys: ["PageDown"], label: "Twenty events on", group: "Move", run: () => move(20), when: inSession },
  { keys: ["PageUp"], label: "Twenty events back", group: "Move", run: () => move(-20), when: inSession },
  { keys: [":"], label: "Go to a step or an event", group: "Move", run: dialog("step"), when: inSession },
  { keys: [" "], label: "Play, pause", group: "Move", run: togglePlay, when: inSession },
  { keys: ["l"], label: "Go to the end and follow", group: "Move", run: goLive, when: inSession },
  ...TABS.map((name, place): Command => ({ keys: [String(place + 1)], label: `Show ${name}`, group: "Look", run: () => void (tab.value = name), when: inSession })),
  { keys: ["/"], label: "Find in the session", group: "Look", run: () => focusOn("find"), when: inSession },
  { keys: ["d"], label: "Show or hide closed deltas", group: "Look", run: () => void (deltas.value = !deltas.value), when: inSession },
  { keys: ["x"], label: "Open all of a value", group: "Look", run: () => expand(true), when: inSession },
  { keys: ["X"], label: "Close all of a value", group: "Look", run: () => expand(false), when: inSession },
  { keys: ["c"], label: "Compare with another session", group: "Branches", run: compare, when: () => inSession() && source.compares },
  { keys: ["f"], label: "Fork here", group: "Branches", run: dialog("fork"), when: () => inSession() && mayWrite.value },
  { keys: ["r"], label: "Replay to here", group: "Branches", run: dialog("replay"), when: () => inSession() && mayWrite.value },
  { keys: ["b"], label: "Stop here when playing or replaying", group: "Branches", run: toggleBreak, when: () => inSession() && selected.value?.[5] !== null },
  { keys: ["["], label: "Previous sibling branch", group: "Branches", run: () => toSibling(-1), when: inSession },
  { keys: ["]"], label: "Next sibling branch", group: "Branches", run: () => toSibling(1), when: inSession },
  { keys: ["p"], label: "What this was forked from", group: "Branches", run: toParent, when: inSession },
  { keys: ["mod+k"], label: "Sessions and commands", group: "Page", run: dialog("palette") },
  { keys: ["s"], label: "Find a session", group: "Page", run: () => ((listOpen.value = true), requestAnimationFrame(() => focusOn("sessions-find"))) },
  { keys: ["y"], label: "Copy a link to this view", group: "Page", run: copyLink, when: inSession },
  { keys: ["t"], label: "Dark or light", group: "Page", run: nextTheme },
  { keys: ["?"], label: "Keys", group: "Page", run: dialog("keys") },
];

function expand(open: boolean): void {
  document.dispatchEvent(new CustomEvent("expand", { detail: open }));
}

const byKey = new Map(COMMANDS.flatMap((command) => command.keys.map((key) => [key, command] as const)));

/** How a key is written on the page. */
export function written(key: string): string {
  const names: Record<string, string> = { ArrowDown: "↓", ArrowUp: "↑", " ": "space", "mod+k": /mac/i.test(navigator.platform) ? "⌘K" : "Ctrl K" };
  return names[key] ?? key;
}

export function listen(): void {
  addEventListener("keydown", (event) => {
    const target = event.target as HTMLElement;
    const modified = event.metaKey || event.ctrlKey;
    if (modified && event.key.toLowerCase() === "k" && !event.altKey) {
      event.preventDefault();
      open.value = open.value === "palette" ? null : "palette";
      return;
    }
    if (modified || event.altKey) return;
    if (open.value !== null) return; // the dialog's own
    if (target.matches("input:not([type=range]), textarea, select")) {
      if (event.key === "Escape") target.blur();
      return;
    }
    // what a control does by itself stays its own
    if (target.matches("input[type=range]") && event.key.startsWith("Arrow")) return;
    if ((event.key === " " || event.key === "Enter") && target.matches("button, a, summary")) return;
    if (event.key === "Escape") {
      close();
      listOpen.value = false;
      comparison.value = null;
      return;
    }
    const command = byKey.get(event.key);
    if (!command || command.when?.() === false) return;
    event.preventDefault();
    command.run();
  });
}
