// An exported page: the documents stand in the page itself, and nothing is asked of anybody.

import { Refused, type Source } from "./contract";
import type { About, Compared, Detail, Found, Json, Listing, PairDetail, Row, Run, Spoken, State, Step, TreeNode } from "./types";

/** An event as an export keeps it: what several events share stands once. */
type KeptEvent = Omit<Detail, "row" | "step" | "run"> & { step: Step | number | null; run: Run | string | null };

interface Kept {
  lines: unknown[];
  events: KeptEvent[];
  states: Record<string, State>;
  /** All that was said, as it stands at the end. */
  conversation?: Spoken;
  steps?: Step[];
  runs?: Record<string, Run>;
}

interface Documents {
  about: About;
  sessions: Listing;
  tree: { roots: TreeNode[] } | null;
  data: Record<string, Kept>;
  compare?: Record<string, Compared & { told: PairDetail[] }>;
}

/** Whether a value says a text: in a text, a number, or (below the first level) the name of a member. */
function says(value: Json, text: string, named = false): boolean {
  if (typeof value === "string") return value.toLowerCase().includes(text);
  if (Array.isArray(value)) return value.some((each) => says(each, text, true));
  if (value !== null && typeof value === "object") return Object.entries(value).some(([name, each]) => (named && name.toLowerCase().includes(text)) || says(each, text, true));
  return value !== null && String(value).includes(text);
}

export function embedded(): Source | null {
  const text = document.getElementById("agentstream-data")?.textContent;
  if (!text?.trim()) return null;
  const held = JSON.parse(text) as Documents;

  const missing = (path: string, what: string): never => {
    throw new Refused(404, { code: "not_found", message: `${what} is not in this export` }, path);
  };
  const session = (path: string, id: unknown): Kept => {
    const name = String(id);
    return Object.hasOwn(held.data, name) ? held.data[name]! : missing(path, `the session ${name}`);
  };
  const event = (path: string, id: unknown, index: number): Detail => {
    const kept = session(path, id);
    const found = kept.events[index] ?? missing(path, `event ${index}`);
    const step = typeof found.step === "number" ? (kept.steps?.[found.step] ?? null) : found.step;
    const run = typeof found.run === "string" ? (kept.runs?.[found.run] ?? null) : found.run;
    return { ...found, step, run, row: kept.lines[index + 1] as Row }; // the first line is about the session
  };
  const nearest = (kept: Kept, at: number): State | undefined => {
    const cuts = Object.keys(kept.states).map(Number).filter((cut) => cut <= at);
    return cuts.length ? kept.states[String(Math.max(...cuts))] : undefined;
  };
  const compared = (query: Record<string, unknown>) => held.compare?.[`${String(query["left"])}|${String(query["right"] ?? "")}`];

  function answer(path: string, query: Record<string, unknown>): unknown {
    switch (path) {
      case "about":
        return held.about;
      case "sessions": {
        const asked = String(query["q"] ?? "").toLowerCase();
        const fits = held.sessions.sessions.filter((each) => `${each.id} ${each.title ?? ""}`.toLowerCase().includes(asked));
        return { ...held.sessions, sessions: fits, total: fits.length };
      }
      case "tree":
        return held.tree ?? missing(path, "the tree");
      case "events":
        return { events: String(query["at"]).split(",").map((at) => event(path, query["session"], Number(at))) };
      case "find": {
        const text = String(query["q"]).toLowerCase();
        const { events } = session(path, query["session"]);
        const hits = events.flatMap((each, index) => (says(each.value, text) ? [index] : []));
        return { hits, next: null, size: events.length } satisfies Found;
      }
      case "raw":
        return event(path, query["session"], Number(query["at"])).raw ?? missing(path, "the stored text");
      case "state":
        return nearest(session(path, query["session"]), Number(query["at"])) ?? missing(path, "the state there");
      case "conversation": {
        const at = Number(query["at"]);
        const all = session(path, query["session"]).conversation?.messages ?? missing(path, "what was said");
        const said = all.filter((each) => (each.index ?? -1) < at);
        return { at, total: said.length, messages: said.slice(-Number(query["last"])) } satisfies Spoken;
      }
      case "compare":
        return compared(query) ?? missing(path, "this comparison");
      case "compare/pair":
        return compared(query)?.told[Number(query["n"])] ?? missing(path, "this pair");
      default:
        return missing(path, path);
    }
  }

  return {
    live: false,
    compares: held.compare !== undefined && Object.keys(held.compare).length > 0,
    get: async <T>(path: string, query = {}) => answer(path, query) as T,
    post: async (path) => missing(path, "what would change something"),
    lines: async (path, query, take) => take(session(path, query["session"]).lines),
    blob: async (path) => missing(path, "another export"),
  };
}
