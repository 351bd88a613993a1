// The agent's code run against the record, from the page.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Divergence, Estimate, Job, Problem, Replayed } from "../data/types";
import { INDEX, STEP, TYPE } from "../data/types";
import { source } from "../data/source";
import { Changes } from "../parts/changes";
import { close, Dialog, DialogHead } from "../parts/dialog";
import { compact, dollars, plain } from "../parts/format";
import { preview } from "../parts/lines";
import { problemOf } from "../state/details";
import { breaks, seek } from "../state/moving";
import { rows } from "../state/rows";
import { refresh } from "../state/sessions";
import { cursor, session, visit } from "../state/view";
import { CommandLine, Trouble } from "./fork";
import { Ended, finished, halt, useEntrypoints } from "./jobs";

type Until = "here" | "break" | "end";

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

  const start = async () => {
    setProblem(null);
    const stops = until === "break" && breaks.value.size ? { until: `step:${Math.min(...breaks.value)}` } : until === "here" ? { at } : {};
    const on = { liveFrom: `step:${from}`, allow: allow.split(/[\s,]+/).filter(Boolean), ...(model && { model }), ...(system && { system }) };
    const asked = { verb: "replay", session: session.value, run: agent, match, ...(live ? on : { keepGoing, ...stops }) };
    try {
      const ended = await finished(asked, setJob);
      if (ended.error) setProblem(ended.error);
      if (ended.result?.fork) void refresh();
    } catch (error) {
      setProblem(problemOf(error));
      setJob(null);
    }
  };

  return (
    <Dialog label="Replay" shape="drawer">
      <DialogHead title="Replay" />
      <div class="dialog-body">
        <p class="quiet">Runs your agent's code, now, on this machine. Every step is served from the record: no network, no key, no tool.</p>
        <label class="field">
          <span>Agent</span>
          <input list="replay-entrypoints" placeholder={entrypoints[0] ?? "module:agent"} value={run} onInput={(event) => setRun(event.currentTarget.value)} />
          <datalist id="replay-entrypoints">
            {entrypoints.map((each) => (
              <option key={each} value={each} />
            ))}
          </datalist>
        </label>
        <label class="field">
          <span>Steps match</span>
          <select value={match} onChange={(event) => setMatch(event.currentTarget.value)}>
            <option value="strict">strictly: place, name and input</option>
            <option value="ordered">in order, though an input differs</option>
            <option value="identity">in any order</option>
          </select>
        </label>
        {!live && (
          <label class="field">
            <span>Runs</span>
            <select value={until} onChange={(event) => setUntil(event.currentTarget.value as Until)}>
              <option value="end">to the end</option>
              <option value="here">to here, @{at}</option>
              {breaks.value.size > 0 && <option value="break">to the first stop, step:{Math.min(...breaks.value)}</option>}
            </select>
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
            <p>
              By the record it costs <b>{estimate === null ? "…" : estimate.dollars === null ? "an unknown amount" : dollars(estimate.dollars)}</b>
              {estimate && ` (${estimate.calls} model calls, ${compact(estimate.input_tokens)} tokens in, ${compact(estimate.output_tokens)} out)`}
            </p>
          </fieldset>
        )}
        <div class="buttons">
          {running ? (
            <button onClick={() => void halt(job).catch((error: unknown) => setProblem(problemOf(error)))}>Stop</button>
          ) : (
            <button class="primary" disabled={!agent} onClick={() => void start()}>
              {live ? "Run on" : "Replay"}
            </button>
          )}
        </div>
        {problem && <Trouble problem={problem} />}
        {job?.result && <Report found={job.result} />}
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

const TONES: Record<string, "good" | "warn"> = { identical: "good", same: "good", stopped: "warn", otherwise: "warn", unfinished: "warn" };

function Report({ found }: { found: Replayed }): JSX.Element {
  const tone = TONES[found.verdict ?? ""] ?? "bad";
  const all = found.divergences?.length ? found.divergences : found.divergence ? [found.divergence] : [];
  return (
    <section aria-label="Report" class="report">
      <p class="verdict" data-tone={tone}>
        {{ good: "✓", warn: "■", bad: "✗" }[tone]} {found.verdict} {found.steps} of {found.recorded} recorded steps served
        {found.made ? `, ${found.made} made` : ""}
      </p>
      {found.refused && <p>{plain(found.refused)}</p>}
      {found.stopped && (
        <p>
          Stopped before step:{found.stopped.step} {plain(found.stopped.kind)} {plain(found.stopped.name)}.{" "}
          <button class="link" onClick={() => (close(), seek(found.stopped!.at))}>
            Show it
          </button>
        </p>
      )}
      {all.slice(0, 20).map((each, place) => (
        <Differing key={place} found={each} />
      ))}
      {(found.drifts ?? []).slice(0, 20).map((each, place) => (
        <Differing key={`drift ${place}`} found={each} />
      ))}
      {found.error && !all.length && (
        <p>
          The agent raised {plain(found.error.name ?? "")}: {plain(found.error.text ?? "")}
        </p>
      )}
      {found.fork && (
        <button class="primary" onClick={() => (close(), visit(found.fork!))}>
          Open {plain(found.fork)}
        </button>
      )}
      {(found.notes ?? []).map((note) => (
        <p key={note} class="quiet">
          {plain(note)}
        </p>
      ))}
    </section>
  );
}

function Differing({ found }: { found: Divergence }): JSX.Element {
  return (
    <div class="card bad">
      <p>
        <b>{found.session_step === null ? "The end" : `step:${found.session_step}`}</b> {found.kind.replaceAll("_", " ")} <code>{plain(found.path)}</code>{" "}
        <button class="link" onClick={() => (close(), seek(found.at + 1))}>
          Show it
        </button>
      </p>
      <code class="one-line">recorded {preview(found.recorded, 300)}</code>
      <code class="one-line">now {preview(found.actual, 300)}</code>
      {found.code && <p class="quiet">{plain(found.code)}</p>}
      <Changes changes={found.diff.slice(0, 40)} was="recorded" now="now" />
    </div>
  );
}
