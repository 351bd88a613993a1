// A value of JSON as lines of a tree: only what is opened is looked at, so a large value costs what is seen of it.

import type { Cut, Json } from "../data/types";
import { plain } from "./format";

export interface Line {
  /** JSON pointer of the value. */
  path: string;
  depth: number;
  name: string | null;
  text: string;
  tone: "text" | "number" | "word" | "shape" | "redacted" | "wrapped";
  /** Whether it can be opened, and is. */
  open: boolean | null;
  cut: Cut | null;
}

/** Strings up to here stand in one line. */
const SHORT = 80;

export const pointer = (path: string, name: string | number) => `${path}/${String(name).replaceAll("~", "~0").replaceAll("/", "~1")}`;

export interface Shown {
  /** Whether a value is open, where that was changed by hand. */
  opened: ReadonlyMap<string, boolean>;
  cuts: ReadonlyMap<string, Cut>;
  /** Values that stand in the place of cut ones. */
  loaded: ReadonlyMap<string, Json>;
  columns: number;
}

export function linesOf(value: Json, shown: Shown, root: string | null = null): Line[] {
  const found: Line[] = [];
  add(found, value, root ?? null, "", 0, shown);
  return found;
}

function add(found: Line[], recorded: Json, name: string | null, path: string, depth: number, shown: Shown): void {
  const loaded = shown.loaded.get(path);
  const value = loaded === undefined ? recorded : loaded;
  const cut = loaded === undefined ? (shown.cuts.get(path) ?? null) : null;
  const line = { path, depth, name: name === null ? null : plain(name), cut };
  if (cut?.kind === "blob" && cut.begins !== undefined) return addText(found, cut.begins, line, shown);
  if (cut?.kind === "blob") return void found.push({ ...line, text: `kept apart${kindOfBlob(value)},`, tone: "shape", open: null });
  const rule = special(value, "$redacted");
  if (rule !== null) return void found.push({ ...line, text: `▒▒▒▒ ${plain(rule)}`, tone: "redacted", open: null });
  if (typeof value === "string") return addText(found, value, line, shown);
  if (value === null || typeof value !== "object") {
    return void found.push({ ...line, text: String(value), tone: typeof value === "number" ? "number" : "word", open: null });
  }
  const entries: [string, Json][] = Array.isArray(value) ? value.map((each, index) => [String(index), each]) : Object.entries(value);
  const open = entries.length ? (shown.opened.get(path) ?? byItself(entries.length, depth)) : null;
  found.push({ ...line, text: open ? counted(value, entries.length) : preview(value), tone: "shape", open });
  if (open) for (const [key, each] of entries) add(found, each, key, pointer(path, key), depth + 1, shown);
}

/** What the record says of a value that is kept apart from it: its type. */
function kindOfBlob(value: Json): string {
  const blob = typeof value === "object" && value !== null && !Array.isArray(value) ? value["$blob"] : null;
  const type = typeof blob === "object" && blob !== null && !Array.isArray(blob) ? blob["type"] : null;
  return typeof type === "string" ? `: ${plain(type.split(";")[0])}` : "";
}

function addText(found: Line[], value: string, line: Pick<Line, "path" | "depth" | "name" | "cut">, shown: Shown): void {
  if (value.length <= SHORT && !value.includes("\n")) {
    return void found.push({ ...line, text: plain(JSON.stringify(value)), tone: "text", open: null });
  }
  const open = shown.opened.get(line.path) ?? (shown.loaded.has(line.path) || (value.length < 2000 && line.depth < 3));
  if (!open) return void found.push({ ...line, text: plain(JSON.stringify(value.slice(0, 300))), tone: "text", open });
  found.push({ ...line, text: `${line.cut ? "the first " : ""}${value.length.toLocaleString("en")} characters`, tone: "shape", open });
  for (const text of wrapped(plain(value), Math.max(20, shown.columns - 2 * line.depth))) {
    found.push({ path: line.path, depth: line.depth + 1, name: null, text, tone: "wrapped", open: null, cut: null });
  }
}

/** Lines of a text, long ones broken at a space where there is one. */
export function wrapped(text: string, columns: number): string[] {
  const found: string[] = [];
  for (const whole of text.split("\n")) {
    let from = 0;
    while (whole.length - from > columns) {
      const space = whole.slice(from, from + columns).lastIndexOf(" "); // in this line alone: a long text may hold none
      const to = from + (space > columns / 2 ? space + 1 : columns);
      found.push(whole.slice(from, to));
      from = to;
    }
    found.push(whole.slice(from));
  }
  return found;
}

const byItself = (entries: number, depth: number) => depth === 0 || (depth === 1 && entries <= 12) || (depth === 2 && entries <= 6);

const counted = (value: Json, count: number) => (Array.isArray(value) ? `[${count}]` : `{${count}}`);

/** The one member of a tagged value, null where it is another. */
function special(value: Json, tag: string): string | null {
  if (typeof value !== "object" || value === null || Array.isArray(value) || !(tag in value)) return null;
  const told = value[tag];
  return Object.keys(value).length === 1 ? String(told) : null;
}

/** The beginning of a value in one line; no more of it is looked at than is shown. */
export function preview(value: Json, room = 120): string {
  let text = "";
  const say = (each: Json): void => {
    if (text.length > room) return;
    if (typeof each === "string") text += JSON.stringify(each.length > room ? `${each.slice(0, room)}…` : each);
    else if (each === null || typeof each !== "object") text += String(each);
    else if (special(each, "$redacted") !== null) text += "▒▒▒▒";
    else {
      const array = Array.isArray(each);
      text += array ? "[" : "{";
      let count = 0;
      for (const key in each) {
        if (text.length > room) break;
        if (count++) text += ", ";
        if (!array) text += `${key}: `;
        say((each as Record<string, Json>)[key]!);
      }
      text += array ? "]" : "}";
    }
  };
  say(value);
  return plain(text.length > room ? `${text.slice(0, room)}…` : text);
}
