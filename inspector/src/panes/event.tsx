// One event: what it says of itself, what went in, what came of it.

import type { JSX } from "preact";
import type { Cut, Detail, Failure, Json } from "../data/types";
import { source } from "../data/source";
import { bytes, compact, dollars, duration, grouped, moment, plain } from "../parts/format";
import { save } from "../parts/notices";
import { Tree } from "../parts/tree";
import { select } from "../state/moving";
import { fragment, session } from "../state/view";
import { Said } from "./messages";
import { Asked } from "./waiting";

export function EventDetail({ detail }: { detail: Detail }): JSX.Element {
  const { step, run, message, question, type } = detail;
  return (
    <>
      {detail.mark && <p class="card warn">{MARKS[detail.mark] ?? `This event does not count: ${plain(detail.mark)}.`}</p>}
      {detail.closed && <p class="card warn">{plain(detail.closed.message)}.</p>}
      {question && <Asked question={question} />}
      <Facts detail={detail} />
      {message && <Said message={message} />}
      {detail.closed ? null : step && HALVES.has(type) ? (
        <>
          {step.error && <Failed error={step.error} />}
          {type === "outcome" && step.result !== undefined && <Section title="Result" of="step" at="/result" value={step.result} cuts={step.cuts} detail={detail} />}
          {step.input !== undefined && <Section title="Input" of="step" at="/input" value={step.input} cuts={step.cuts} detail={detail} />}
          {type !== "outcome" && step.result !== undefined && <Section title="Result" of="step" at="/result" value={step.result} cuts={step.cuts} detail={detail} />}
          {type !== "step" && type !== "outcome" && <Section title="Value" of="value" at="" value={detail.value} cuts={detail.cuts} detail={detail} />}
        </>
      ) : run && (type === "run" || type === "outcome" || type === "error") ? (
        <>
          {run.error && <Failed error={run.error} />}
          {run.result !== undefined && <Section title="Returned" of="run" at="/result" value={run.result} cuts={run.cuts} detail={detail} />}
          {run.arguments !== undefined && <Section title="Arguments" of="run" at="/arguments" value={run.arguments} cuts={run.cuts} detail={detail} />}
        </>
      ) : (
        <Section title="Value" of="value" at="" value={detail.value} cuts={detail.cuts} detail={detail} />
      )}
      {detail.forks.length > 0 && (
        <section class="part">
          <h3>Forked here</h3>
          <ul class="plain-list">
            {detail.forks.slice(0, 20).map((fork) => (
              <li key={fork.id}>
                <a data-icon="fork" href={fragment(fork.id, null)}>
                  {" "}
                  {plain(fork.id)}
                </a> <span class="quiet">{fork.status}</span>
              </li>
            ))}
          </ul>
        </section>
      )}
    </>
  );
}

/** What is shown with its step's input and result. */
const HALVES = new Set(["step", "outcome", "question"]);

const MARKS: Record<string, string> = {
  fenced: "Fenced: written by a worker that had been taken over. It does not count.",
  duplicate: "Duplicate: an event of this type and key that counts was there before.",
  rewound: "Rewound: a rewind went back to before this event. It does not count.",
  malformed: "Malformed: not of the form of its type. It is kept, and does not count.",
};

function Facts({ detail }: { detail: Detail }): JSX.Element {
  const { step, run } = detail;
  const tokens = step ? [step.usage["input_tokens"], step.usage["output_tokens"]].map((each) => (typeof each === "number" ? each : null)) : [];
  const facts: [string, string | JSX.Element | null][] = [
    ["Took", step?.ms !== null && step ? duration(step.ms) : null],
    ["Tokens", tokens.some((each) => each !== null) ? `${compact(tokens[0] ?? 0)} in, ${compact(tokens[1] ?? 0)} out` : null],
    ["Cost", step?.cost ? (step.cost.dollars === null ? (step.cost.unpriced.length ? "no price is known" : null) : dollars(step.cost.dollars)) : null],
    ["Model", step?.model ? plain(step.model) : null],
    ["Step", step && step.name !== detail.row[3] ? plain(step.name) : null],
    ["Attempts", step && step.attempts.length > 1 ? <Attempts detail={detail} /> : null],
    ["Effect", step && step.effect !== "repeat" ? plain(step.effect) : null],
    ["Lane", step && step.lane && step.lane !== "0" ? plain(step.lane) : null],
    ["Run", run ? `${plain(run.agent)} ${plain(run.id)}, ${run.status}` : step ? plain(step.run) : null],
    [step?.start === detail.index ? "Ended" : "Began", step && step.outcome !== null ? <Half detail={detail} start={step.start} outcome={step.outcome} /> : null],
    ["Code", step?.code ? plain(step.code) : null],
    ["Time", moment(detail.row[8]) || null],
    ["Size", `${bytes(detail.size)}${detail.claim !== null ? `, claim ${detail.claim}` : ""}`],
    ["Key", plain(detail.key)],
  ];
  return (
    <dl class="facts">
      {facts.map(
        ([name, value]) =>
          value !== null && (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ),
      )}
    </dl>
  );
}

function Half({ detail, start, outcome }: { detail: Detail; start: number; outcome: number }): JSX.Element {
  const other = detail.index === start ? outcome : start;
  return (
    <button class="link" onClick={() => select(other)}>
      event {grouped(other)}
    </button>
  );
}

function Attempts({ detail }: { detail: Detail }): JSX.Element {
  return (
    <>
      {detail.step!.attempts.slice(-6).map((attempt) => (
        <button key={attempt.number} class="link" onClick={() => select(attempt.outcome ?? attempt.start)} title={attempt.error?.text ? plain(attempt.error.text) : undefined}>
          {attempt.number} {attempt.status}
        </button>
      ))}
    </>
  );
}

function Failed({ error }: { error: Failure }): JSX.Element {
  const { name, text, ...rest } = error;
  const more = Object.entries(rest).filter(([, value]) => value !== null && value !== undefined && !(Array.isArray(value) && !value.length));
  return (
    <section class="card bad" aria-label="Error">
      <h3>{plain(name ?? "Error")}</h3>
      {text && (
        <p class="prompt" dir="auto">
          {plain(text.slice(0, 4000))}
        </p>
      )}
      {more.length > 0 && <Tree value={Object.fromEntries(more) as Json} label="More about the error" />}
    </section>
  );
}

interface SectionProps {
  title: string;
  of: "value" | "step" | "run";
  /** Where the value stands in what `of` names. */
  at: string;
  value: Json;
  cuts: Cut[];
  detail: Detail;
}

function Section({ title, of, at, value, cuts, detail }: SectionProps): JSX.Element {
  const own = cuts.filter((cut) => cut.path === at || cut.path.startsWith(`${at}/`)).map((cut) => ({ ...cut, path: cut.path.slice(at.length) }));
  const whole = async (path: string) => await source.get<{ value?: Json; base64?: string; media_type?: string; name?: string }>("value", { session: session.value, at: detail.index, path: at + path, of });
  return (
    <section class="part">
      <h3>{title}</h3>
      <Tree
        value={value}
        label={title}
        cuts={own}
        {...(source.live
          ? {
              load: async (path: string) => {
                const found = await whole(path);
                return found.value ?? (found as Json);
              },
              download: (path: string) => void whole(path).then((found) => save(...file(found, `${session.value}-${detail.index}`))),
            }
          : {})}
      />
    </section>
  );
}

function file(found: { value?: Json; base64?: string; media_type?: string; name?: string }, name: string): [Blob, string] {
  if (found.base64 !== undefined) {
    const data = Uint8Array.from(atob(found.base64), (each) => each.charCodeAt(0));
    return [new Blob([data], { type: "application/octet-stream" }), found.name ?? name];
  }
  return typeof found.value === "string" ? [new Blob([found.value], { type: "text/plain" }), `${name}.txt`] : [new Blob([JSON.stringify(found.value)], { type: "application/json" }), `${name}.json`];
}
