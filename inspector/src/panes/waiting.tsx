// A question that a run waits with, and the form that answers it.

import { computed } from "@preact/signals";
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { type Json, type Question, STATUS, TYPE } from "../data/types";
import { source } from "../data/source";
import { plain } from "../parts/format";
import { preview } from "../parts/lines";
import { tell } from "../parts/notices";
import { Tree } from "../parts/tree";
import { mayWrite } from "../state/commands";
import { problemOf } from "../state/details";
import { moveTo, select } from "../state/moving";
import { rows, version } from "../state/rows";
import { session } from "../state/view";

const openQuestions = computed(() => {
  version.value;
  return rows.filter((row) => row[TYPE] === "question" && (row[STATUS] === "open" || row[STATUS] === "waiting"));
});

/** Leads to what is asked. */
export function Answering(): JSX.Element | null {
  const asked = openQuestions.value;
  if (!asked.length) return null;
  const next = () => moveTo((row) => asked.includes(row), 1) || select(asked[0]![0]);
  return (
    <button class="asks" onClick={next}>
      {asked.length === 1 ? "Waits for an answer" : `Waits for ${asked.length} answers`}
    </button>
  );
}

export function Asked({ question }: { question: Question }): JSX.Element {
  const open = question.status === "open";
  return (
    <section class="card asked" aria-label="Question">
      <h3>{open ? "Waits for an answer" : `Question, ${question.status}`}</h3>
      <p class="prompt" dir="auto">
        {plain(question.prompt)}
      </p>
      {question.arguments !== null && question.arguments !== undefined && <Tree value={question.arguments} label="Arguments" />}
      {question.answer && (
        <p>
          Answered{question.answer.by ? ` by ${plain(question.answer.by)}` : ""}: <code>{preview(question.answer.value, 300)}</code>
        </p>
      )}
      {open && (mayWrite.value ? <Form question={question} /> : <p class="quiet">This page may only be read. Answer with agentstream answer.</p>)}
    </section>
  );
}

function Form({ question }: { question: Question }): JSX.Element {
  const [text, setText] = useState("");
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const type = question.schema?.["type"];
  const choices = question.choices ?? (Array.isArray(question.schema?.["enum"]) ? question.schema["enum"] : null);

  const give = async (value: Json) => {
    setBusy(true);
    try {
      await source.post("answer", { session: session.value, question: question.key, value, by: null });
      tell("Answered");
      setProblem(null);
    } catch (error) {
      const { message, hint } = problemOf(error);
      setProblem(hint ? `${message} (${hint})` : message);
    } finally {
      setBusy(false);
    }
  };

  const said = (): Json => {
    if (type === "string" || (type === undefined && question.schema === null)) return text;
    return JSON.parse(text) as Json;
  };
  const submit = (event: Event) => {
    event.preventDefault();
    try {
      void give(said());
    } catch (error) {
      setProblem(`This is no JSON: ${(error as Error).message}`);
    }
  };

  return (
    <div class="answer">
      {question.kind === "approval" ? (
        <div class="buttons">
          <button class="primary" disabled={busy} onClick={() => void give(true)}>
            Approve
          </button>
          <button disabled={busy} onClick={() => void give(false)}>
            Refuse
          </button>
        </div>
      ) : choices ? (
        <div class="buttons">
          {choices.slice(0, 20).map((each) => (
            <button key={JSON.stringify(each)} disabled={busy} onClick={() => void give(each)}>
              {typeof each === "string" ? plain(each) : preview(each)}
            </button>
          ))}
        </div>
      ) : type === "boolean" ? (
        <div class="buttons">
          <button disabled={busy} onClick={() => void give(true)}>
            Yes
          </button>
          <button disabled={busy} onClick={() => void give(false)}>
            No
          </button>
        </div>
      ) : (
        <form onSubmit={submit}>
          <textarea aria-label="Answer" rows={2} value={text} onInput={(event) => setText(event.currentTarget.value)} placeholder={type && type !== "string" ? `JSON: ${plain(JSON.stringify(type))}` : "Your answer"} />
          <button class="primary" disabled={busy || !text}>
            Answer
          </button>
        </form>
      )}
      {problem && (
        <p class="problem" role="alert">
          {plain(problem)}
        </p>
      )}
    </div>
  );
}
