// The agent's code run against the record, from the page.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Estimate, Job, Json, Problem, Replayed } from "../data/types";
import { INDEX, STEP, TYPE } from "../data/types";
import { source } from "../data/source";
import { Dialog, DialogHead } from "../parts/dialog";
import { compact, dollars } from "../parts/format";
import { problemOf } from "../state/details";
import { breaks } from "../state/moving";
import { rows } from "../state/rows";
import { refresh } from "../state/sessions";
import { cursor, session } from "../state/view";
import { CommandLine, Trouble } from "./fork";
import { Ended, finished, halt, useEntrypoints } from "./jobs";
import { Report } from "./report";

type Until = "here" | "break" | "stops" | "end";

export function Replay(): JSX.Element {
  const entrypoints = useEntrypoints();
  const [at] = useState(cursor.value); // a followed session goes on meanwhile
  const [run, setRun] = useState("");
  const [match, setMatch] = useState("strict");
  const [until, setUntil] = useState<Until>(breaks.value.size ? "break" : cursor.value < rows.length ? "here" : "end");
  const [keepGoing, setKeepGoing] = useState(false);
  const [live, setLive] = useState(false);
  const [from, setFrom] = useState(stepHere());
  const [allow, setAllow] = useState("");
  const [model, setModel] = useState("");
  const [system, setSystem] = useState("");
  const [mock, setMock] = useState("");
  const [stops, setStops] = useState("");
  const [repeat, setRepeat] = useState(1);
  const [check, setCheck] = useState("");
  const [estimate, setEstimate] = useState<Estimate | null>(null);
  const [job, setJob] = useState<Job | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const last = steps();
  const running = job?.state === "running";

  // the likeliest one stands for an empty field: to put it in would get in the way of who is typing already
  const agent = run || (entrypoints[0] ?? "");
  useEffect(() => {
    if (!live) return;
    const timer = setTimeout(() => {
      const index = rows.find((row) => row[STEP] === from && row[TYPE] === "step")?.[INDEX] ?? rows.length;
      source.get<Estimate>("estimate", { session: session.value, from: index, model }).then(setEstimate, () => setEstimate(null));
    }, 150);
    return () => clearTimeout(timer);
  }, [live, from, model]);

  /** `past`: goes on from the stop before this step of the run. */
  const start = async (past: number | null = null) => {
    setProblem(null);
    try {
      const tries = { ...(repeat > 1 && { repeat }), ...(check.trim() && { check: check.trim() }) };
      const on = { liveFrom: `step:${from}`, allow: words(allow), mock: mocked(mock), ...(model && { model }), ...(system && { system }) };
      const off = { match, keepGoing, ...ending(until, at, stops, past) };
      const ended = await finished({ verb: "replay", session: session.value, run: agent, ...tries, ...(live ? on : off) }, setJob);
      if (ended.error) setProblem(ended.error);
      if (ended.result?.fork || ended.result?.tries?.some((each) => each.fork)) void refresh();
    } catch (error) {
      setProblem(problemOf(error));
      setJob(null);
    }
  };

  return (
    <Dialog label="Replay" shape="drawer">
      <DialogHead title="Replay" />
      <div class="dialog-body">
        <p class="quiet">Runs your agent's code, now, on this machine. {live ? "Earlier steps are served from the record; from the step below on they are really made." : "Every step is served from the record: no network, no key, no tool."}</p>
        <label class="field">
          <span>Agent</span>
          <input list="replay-entrypoints" placeholder={entrypoints[0] ?? "module:agent"} value={run} onInput={(event) => setRun(event.currentTarget.value)} />
          <datalist id="replay-entrypoints">
            {entrypoints.map((each) => (
              <option key={each} value={each} />
            ))}
          </datalist>
        </label>
        {!live && (
          <label class="field">
            <span>Steps match</span>
            <select value={match} onChange={(event) => setMatch(event.currentTarget.value)}>
              <option value="strict">strictly: place, name and input</option>
              <option value="ordered">in order, though an input differs</option>
              <option value="identity">in any order</option>
            </select>
          </label>
        )}
        {!live && (
          <label class="field">
            <span>Runs</span>
            <select value={until} onChange={(event) => setUntil(event.currentTarget.value as Until)}>
              <option value="end">to the end</option>
              <option value="here">to here, @{at}</option>
              {breaks.value.size > 0 && <option value="break">to the first stop, step:{Math.min(...breaks.value)}</option>}
              <option value="stops">to the first step that fits…</option>
            </select>
          </label>
        )}
        {!live && until === "stops" && (
          <label class="field">
            <span>Stops before, one a line: KIND, KIND:NAME, KIND:NAME?EXPRESSION</span>
            <textarea rows={2} spellcheck={false} value={stops} placeholder={"tool:refund?args.amount > 100\nerror"} onInput={(event) => setStops(event.currentTarget.value)} />
          </label>
        )}
        {!live && (
          <label class="choice">
            <input type="checkbox" checked={keepGoing} onChange={(event) => setKeepGoing(event.currentTarget.checked)} /> Tell all differences, not only the first
          </label>
        )}
        <label class="choice">
          <input type="checkbox" checked={live} onChange={(event) => setLive(event.currentTarget.checked)} /> Run on for real, in a new fork
        </label>
        {live && (
          <fieldset>
            <legend>Really made from step:{from} on</legend>
            <input type="range" min={0} max={last} value={from} aria-label="First step that is really made" onInput={(event) => setFrom(Number(event.currentTarget.value))} />
            <label class="field">
              <span>Model in place of the recorded one</span>
              <input value={model} onInput={(event) => setModel(event.currentTarget.value)} />
            </label>
            <label class="field">
              <span>System prompt in place of the recorded one</span>
              <textarea rows={2} value={system} onInput={(event) => setSystem(event.currentTarget.value)} />
            </label>
            <label class="field">
              <span>Steps that act once and may act</span>
              <input value={allow} placeholder="refund, send_mail or *" onInput={(event) => setAllow(event.currentTarget.value)} />
            </label>
            <label class="field">
              <span>Steps that are not made, and what they give, one a line: NAME=JSON</span>
              <textarea rows={2} spellcheck={false} value={mock} placeholder={'lookup_order={"status": "sent"}'} onInput={(event) => setMock(event.currentTarget.value)} />
            </label>
            <p>
              By the record it costs <b>{estimate === null ? "…" : estimate.dollars === null ? "an unknown amount" : dollars(estimate.dollars)}</b>
              {estimate && ` (${estimate.calls} model calls, ${compact(estimate.input_tokens)} tokens in, ${compact(estimate.output_tokens)} out)`}
            </p>
          </fieldset>
        )}
        <details class="more">
          <summary>Repeat and check</summary>
          <label class="field">
            <span>Times</span>
            <input type="number" min={1} max={100} value={repeat} onInput={(event) => setRepeat(Math.max(1, Number(event.currentTarget.value) || 1))} />
          </label>
          <label class="field">
            <span>Function that says of a result whether it passes</span>
            <input value={check} placeholder="module:function" onInput={(event) => setCheck(event.currentTarget.value)} />
          </label>
        </details>
        <div class="buttons">
          {running ? (
            <button onClick={() => void halt(job).catch((error: unknown) => setProblem(problemOf(error)))}>Stop</button>
          ) : (
            <button class="primary" disabled={!agent || (!live && until === "stops" && !linesOf(stops).length)} onClick={() => void start()}>
              {live ? "Run on" : "Replay"}
            </button>
          )}
        </div>
        {problem && <Trouble problem={problem} />}
        {job?.result && <Report found={job.result} goOn={running || live ? null : onward(job.result, until, start)} />}
        {job && <Ended job={job} />}
        {job && <CommandLine command={job.command} />}
      </div>
    </Dialog>
  );
}

const steps = () => rows.reduce((highest, row) => Math.max(highest, row[STEP] ?? 0), 0);

function stepHere(): number {
  for (let index = cursor.value - 1; index >= 0; index--) if (rows[index]?.[STEP] !== null) return rows[index]?.[STEP] ?? 0;
  return 0;
}

const words = (text: string) => text.split(/[\s,]+/).filter(Boolean);
const linesOf = (text: string) => text.split("\n").map((line) => line.trim()).filter(Boolean);

/** Where the replay ends before the run does. The breakpoints of a stop that was made are asked of later steps only. */
function ending(until: Until, at: number, stops: string, past: number | null): object {
  if (until === "here") return { at };
  if (until === "stops") return { break: linesOf(stops).map((stop) => (past === null ? stop : later(stop, past))) };
  const step = until === "break" ? nextBreak(past) : null;
  return step === null ? {} : { until: `step:${step}` };
}

const nextBreak = (past: number | null) => [...breaks.value].sort((one, other) => one - other).find((step) => past === null || step > past) ?? null;

function later(stop: string, past: number): string {
  const [what, ...expression] = stop.split("?");
  const asked = expression.join("?").trim();
  return `${what}?step > ${past}${asked ? ` and (${asked})` : ""}`;
}

/** How to go on from where a replay stopped. */
function onward(found: Replayed, until: Until, start: (past: number) => Promise<void>): { label: string; act: () => void } | null {
  if (!found.stopped) return null;
  const { step, at } = found.stopped;
  if (until === "stops") return { label: "On to the next stop", act: () => void start(step) };
  // marks are steps of the session: where it stopped, its number there is counted
  const here = rows[at]?.[STEP] ?? step;
  const next = until === "break" ? nextBreak(here) : null;
  return next === null ? null : { label: `On to step:${next}`, act: () => void start(here) };
}

/** What stands for steps, by name. Throws where a line is not NAME=JSON. */
function mocked(text: string): Record<string, Json> {
  const found: Record<string, Json> = {};
  for (const line of linesOf(text)) {
    const at = line.indexOf("=");
    const name = line.slice(0, at).trim();
    if (at < 1 || !name) throw new Error(`“${line.slice(0, 80)}” is not NAME=JSON`);
    try {
      found[name] = JSON.parse(line.slice(at + 1)) as Json;
    } catch {
      throw new Error(`What ${name} gives is no JSON: ${line.slice(at + 1, at + 81)}`);
    }
  }
  return found;
}
