// The documents of the inspector's API, as agentstream/inspector gives them.

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

export interface About {
  schema: string;
  version: string;
  store: string;
  readOnly: boolean;
  embedded?: boolean;
  exported?: number;
  file?: string | null;
  start?: { session: string; at: number | null } | null;
  statuses?: string[];
}

export interface Listed {
  id: string;
  title: string | null;
  status: string | null;
  agent: string | null;
  parent: string | null;
  created: number | null;
  updated: number | null;
  events: number | null;
  sealed: boolean;
  cost?: number | null;
  input_tokens?: number;
  output_tokens?: number;
  failures?: number;
}

export interface Listing {
  sessions: Listed[];
  total: number;
  agents: string[];
  counts: Record<string, number>;
}

export interface Lineage {
  source: string;
  count: number;
}

/** Events that cannot be opened: another key's, erased, or changed by somebody. `command` gives the key. */
export interface Closed {
  code: string;
  message: string;
  command: string | null;
}

/** What a session amounts to as a whole. */
export interface Head {
  session: string;
  incarnation: string;
  title: string | null;
  status: string | null;
  sealed: boolean;
  events: number;
  lineage: Lineage | null;
  encrypted?: boolean;
  closed?: (Closed & { events: number }) | null;
  agent: string | null;
  input_tokens: number;
  output_tokens: number;
  cost: number | null;
  unpriced: string[];
}

/** One event in the timeline, by place: see `at` below for the names. */
export type Row = [
  index: number, type: string, kind: string, name: string, status: string, step: number | null, lane: string, depth: number,
  at: number | null, ms: number | null, tokensIn: number | null, tokensOut: number | null, cost: number | null, size: number,
  mark: string | null, forks: number, text: string,
];
export const INDEX = 0, TYPE = 1, KIND = 2, NAME = 3, STATUS = 4, STEP = 5, DEPTH = 7, AT = 8, MS = 9, IN = 10, OUT = 11,
  COST = 12, SIZE = 13, MARK = 14, FORKS = 15, TEXT = 16;

export interface Cut {
  path: string;
  kind: string;
  size: number;
  shown?: number;
  /** How a value begins that is kept apart. */
  begins?: string;
}

export interface Failure {
  name?: string;
  text?: string;
  [more: string]: Json | undefined;
}

export interface Attempt {
  number: number;
  start: number;
  outcome: number | null;
  status: string;
  error: Failure | null;
}

export interface Step {
  number: number;
  key: string;
  run: string;
  lane: string;
  ordinal: number;
  kind: string;
  name: string;
  effect: string;
  status: string;
  attempts: Attempt[];
  start: number;
  outcome: number | null;
  at: number | null;
  ended: number | null;
  ms: number | null;
  input?: Json;
  result?: Json;
  error: Failure | null;
  usage: Record<string, Json>;
  model: string | null;
  cost: { dollars: number | null; unpriced: string[] } | null;
  code: string | null;
  idempotencyKey: string | null;
  cuts: Cut[];
  deltas: number;
}

export interface Run {
  id: string;
  agent: string;
  status: string;
  parent: string | null;
  start: number;
  outcome: number | null;
  arguments?: Json;
  result?: Json;
  error: Failure | null;
  cuts: Cut[];
}

export interface Part {
  type: string;
  text?: string;
  id?: string;
  name?: string;
  arguments?: Json;
  result?: Json;
  error?: boolean;
  media_type?: string;
  size?: number;
  value?: Json;
}

export interface Message {
  role: string;
  parts: Part[];
  /** It is not said whole yet. */
  coming?: boolean;
  /** It is longer than what is given here. */
  cut?: boolean;
}

/** The last messages of what was said before a cut; `index` is the event that told one first, null of a prompt that leads. */
export interface Spoken {
  at: number;
  total: number;
  messages: (Message & { index: number | null })[];
}

export interface Question {
  key: string;
  status: string;
  kind: string;
  prompt: string;
  choices: Json[] | null;
  schema: Record<string, Json> | null;
  asked: number | null;
  expires: number | null;
  arguments: Json;
  answer: { value: Json; by: string | null; index: number } | null;
}

export type Edit =
  | { kind: "outcome"; step: number; value: Json; cut?: boolean }
  | { kind: "message"; index: number; value: Json; cut?: boolean }
  | { kind: "input"; value: Json; agent?: string; cut?: boolean };

/** Everything about one event. */
export interface Detail {
  row: Row;
  index: number;
  position: string;
  type: string;
  key: string;
  operation: string;
  timestamp: string | null;
  claim: number | null;
  mark: string | null;
  size: number;
  value: Json;
  cuts: Cut[];
  closed?: Closed | null;
  redacted: string[];
  step: Step | null;
  run: Run | null;
  message: Message | null;
  question: Question | null;
  forks: { id: string; at: number; status: string | null }[];
  forkable: { at: number; edits: Edit[] } | null;
  commands: Record<string, string>;
  raw?: Raw;
}

/** Events that say a text, as far as one answer goes; `next` is where the next goes on. */
export interface Found {
  hits: number[];
  next: number | null;
  size: number;
}

export interface Raw {
  raw: string;
  size: number;
  valid: boolean;
}

export interface Change {
  op: string;
  path: string;
  value?: Json;
  was?: Json;
}

export interface State {
  at: number;
  messages: number[];
  open: string[];
  diff: Change[];
  [more: string]: Json | Change[] | undefined;
}

export type Pair = [
  kind: string, left: number | null, right: number | null, leftIndex: number | null, rightIndex: number | null,
  stepKind: string, name: string, path: string,
];

export interface Compared {
  left: { session: string; at: number; events: number };
  right: { session: string; at: number; events: number };
  identical: boolean;
  first: number | null;
  same: number;
  differ: number;
  pairs: Pair[];
}

export interface Told {
  input?: Json;
  outcome?: { status: string; result?: Json; error?: Failure };
}

export interface PairDetail {
  left: Told | null;
  right: Told | null;
  diff: Change[];
}

export interface TreeNode {
  id: string;
  title: string | null;
  relation: "root" | "fork" | "child";
  at: number | null;
  status: string | null;
  sealed: boolean;
  events: number;
  cost: number | null;
  difference: { step: number; difference: string; kind: string; name: string; path: string } | null;
  branches: TreeNode[];
}

export interface Problem {
  code: string;
  message: string;
  hint?: string;
}

export interface Job {
  job: string;
  verb: string;
  state: "running" | "done" | "stopped";
  code: number | null;
  command: string;
  result: Replayed | null;
  error: Problem | null;
  stderr: string;
  ms: number;
}

export interface Divergence {
  step: number;
  session_step: number | null;
  at: number;
  kind: string;
  path: string;
  recorded: Json;
  actual: Json;
  diff: Change[];
  code: string | null;
}

export interface Replayed {
  verdict?: string;
  steps?: number;
  recorded?: number;
  divergence?: Divergence | null;
  divergences?: Divergence[];
  drifts?: Divergence[];
  stopped?: { step: number; kind: string; name: string; at: number; why: string } | null;
  fork?: string | null;
  made?: number;
  error?: Failure | null;
  result?: Json;
  refused?: string | null;
  notes?: string[];
  tries?: { verdict: string; fork: string | null; returned: boolean; result?: Json }[];
  passed?: number | null;
  next?: string[];
  id?: string;
}

export interface Estimate {
  dollars: number | null;
  calls: number;
  input_tokens: number;
  output_tokens: number;
  unpriced: string[];
}
