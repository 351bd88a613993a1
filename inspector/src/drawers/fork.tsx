// A branch from here, with something else in it if one likes.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Edit, Job, Json, Problem } from "../data/types";
import { source } from "../data/source";
import { Changes, compare, kindOf } from "../parts/changes";
import { close, Dialog, DialogHead } from "../parts/dialog";
import { bytes, plain } from "../parts/format";
import { copy } from "../parts/notices";
import { details, problemOf } from "../state/details";
import { refresh } from "../state/sessions";
import { cursor, session, visit } from "../state/view";
import { Ended, finished, useEntrypoints } from "./jobs";

interface Checked {
  ok: boolean;
  id: string;
  problem: Problem | null;
  command: string;
}

interface Made {
  id: string;
  command: string;
  next: string[];
}

/** Above this a comparison waits until it is asked for. */
const LARGE = 200_000;

const WHAT: Record<Edit["kind"], string> = { outcome: "Another outcome of the step", message: "Another message", input: "Another input of the run" };

const written = (value: Json) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

export function Fork(): JSX.Element {
  // the place where it was opened, though a followed session goes on meanwhile
  const [at] = useState(cursor.value);
  const [edits, setEdits] = useState<Edit[]>([]);
  useEffect(() => {
    details([at - 1]).then(([known]) => setEdits(known?.forkable?.edits ?? []), (error: unknown) => setProblem(problemOf(error)));
  }, []);
  const [chosen, setChosen] = useState(-1);
  const [text, setText] = useState("");
  const [id, setId] = useState("");
  const [note, setNote] = useState("");
  const [untyped, setUntyped] = useState(false);
  const [run, setRun] = useState("");
  const [checked, setChecked] = useState<Checked | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [made, setMade] = useState<Made | null>(null);
  const [job, setJob] = useState<Job | null>(null);
  const [busy, setBusy] = useState(false);
  const [compared, setCompared] = useState(false);
  const entrypoints = useEntrypoints();

  const edit = edits[chosen] ?? null;
  const choose = (place: number) => {
    setChosen(place);
    setText(place < 0 ? "" : written(edits[place]!.value));
    setCompared(false);
  };
  const given = parsed(edit, text);
  const mismatch = edit && given.ok && !untyped && kindOf(edit.value) !== kindOf(given.value) && edit.value !== null && given.value !== null;

  const body = (dryRun: boolean) => ({
    session: session.value,
    at,
    untyped,
    dryRun,
    ...(id && { as: id }),
    ...(note && { note }),
    ...(edit && given.ok && { edit: asked(edit, given.value, run) }),
  });

  useEffect(() => {
    if (!given.ok) return setChecked(null);
    const timer = setTimeout(() => {
      source.post<Checked>("fork", body(true)).then(setChecked, (error: unknown) => setChecked({ ok: false, id: "", problem: problemOf(error), command: "" }));
    }, 250);
    return () => clearTimeout(timer);
  }, [chosen, text, id, note, untyped, run]);

  const create = async (andRun: boolean) => {
    setBusy(true);
    setProblem(null);
    try {
      if (andRun) {
        const ended = await finished({ verb: "fork", ...body(false), as: id || checked?.id, run }, setJob);
        const branch = ended.result?.fork ?? ended.result?.id ?? (id || checked?.id);
        if (ended.error) setProblem(ended.error);
        else if (branch) setMade({ id: branch, command: ended.command, next: ended.result?.next ?? [] });
      } else {
        setMade(await source.post<Made>("fork", { ...body(false), as: id || checked?.id }));
      }
      void refresh();
    } catch (error) {
      setProblem(problemOf(error));
    } finally {
      setBusy(false);
    }
  };

  const ready = given.ok && !mismatch && checked?.ok !== false && !busy;
  return (
    <Dialog label="Fork" shape="drawer">
      <DialogHead title={`Fork at @${at}`} />
      {made ? (
        <div class="dialog-body">
          <p>
            <b>{plain(made.id)}</b> is made. Its source is unchanged.
          </p>
          <div class="buttons">
            <button class="primary" onClick={() => (close(), visit(made.id))}>
              Open it
            </button>
          </div>
          {job && <Ended job={job} />}
          {made.next.map((command) => (
            <CommandLine key={command} command={command} />
          ))}
        </div>
      ) : (
        <div class="dialog-body">
          <p class="quiet">Keeps the first {at} events. Nothing is copied, and the session itself does not change.</p>
          <fieldset>
            <legend>What is edited</legend>
            <label class="choice">
              <input type="radio" name="edit" checked={chosen < 0} onChange={() => choose(-1)} /> Nothing
            </label>
            {edits.map((each, place) => (
              <label class="choice" key={place}>
                <input type="radio" name="edit" checked={chosen === place} disabled={each.cut === true} onChange={() => choose(place)} /> {WHAT[each.kind]}
                {each.kind === "outcome" && <span class="quiet"> step:{each.step}</span>}
                {each.cut && <span class="quiet"> (too large to edit here: use the command)</span>}
              </label>
            ))}
          </fieldset>
          {edit && (
            <>
              <label class="field">
                <span>
                  {typeof edit.value === "string" ? "Text" : "JSON"} <span class="quiet">recorded: {kindOf(edit.value)}</span>
                </span>
                <textarea class="code" rows={10} spellcheck={false} value={text} aria-invalid={!given.ok || Boolean(mismatch)} onInput={(event) => setText(event.currentTarget.value)} />
              </label>
              {!given.ok && (
                <p class="problem" role="alert">
                  {given.problem}
                </p>
              )}
              {mismatch && given.ok && (
                <p class="problem" role="alert">
                  This is {kindOf(given.value)}, and what was recorded is {kindOf(edit.value)}.
                </p>
              )}
              <label class="choice">
                <input type="checkbox" checked={untyped} onChange={(event) => setUntyped(event.currentTarget.checked)} /> Take it though it has another type
              </label>
              {given.ok &&
                (text.length > LARGE && !compared ? (
                  <p>
                    {bytes(text.length)} are not compared with every key.{" "}
                    <button class="link" onClick={() => setCompared(true)}>
                      Compare
                    </button>
                  </p>
                ) : (
                  <Changes changes={compare(edit.value, given.value)} was="recorded" now="edited" />
                ))}
            </>
          )}
          <label class="field">
            <span>Id of the branch</span>
            <input value={id} placeholder={checked?.id ?? ""} onInput={(event) => setId(event.currentTarget.value)} />
          </label>
          <label class="field">
            <span>Note</span>
            <input value={note} onInput={(event) => setNote(event.currentTarget.value)} />
          </label>
          <label class="field">
            <span>Agent to run it with</span>
            <input list="entrypoints" placeholder="module:agent" value={run} onInput={(event) => setRun(event.currentTarget.value)} />
            <datalist id="entrypoints">
              {entrypoints.map((each) => (
                <option key={each} value={each} />
              ))}
            </datalist>
          </label>
          {(problem ?? (checked?.ok === false ? checked.problem : null)) && <Trouble problem={(problem ?? checked!.problem)!} />}
          {job && <Ended job={job} />}
          <div class="buttons">
            <button class="primary" disabled={!ready || edit?.kind === "input"} onClick={() => void create(false)}>
              Create fork
            </button>
            <button disabled={!ready || !run} onClick={() => void create(true)}>
              Create and run
            </button>
          </div>
          {checked?.command && <CommandLine command={checked.command} />}
        </div>
      )}
    </Dialog>
  );
}

function asked(edit: Edit, value: Json, run: string): object {
  if (edit.kind === "outcome") return { kind: "outcome", step: edit.step, value };
  if (edit.kind === "message") return { kind: "message", index: edit.index, value };
  return { kind: "input", value, run };
}

type Given = { ok: true; value: Json } | { ok: false; problem: string };

function parsed(edit: Edit | null, text: string): Given {
  if (!edit) return { ok: true, value: null };
  if (typeof edit.value === "string") return { ok: true, value: text };
  try {
    return { ok: true, value: JSON.parse(text) as Json };
  } catch (error) {
    return { ok: false, problem: `This is no JSON: ${(error as Error).message}` };
  }
}

export function Trouble({ problem }: { problem: Problem }): JSX.Element {
  return (
    <div class="card bad" role="alert">
      <p>{plain(problem.message)}</p>
      {problem.hint && <p class="quiet">{plain(problem.hint)}</p>}
    </div>
  );
}

/** The same, as it is typed. */
export function CommandLine({ command }: { command: string }): JSX.Element {
  return (
    <div class="command">
      <code>{plain(command)}</code>
      <button onClick={() => void copy(command, "the command")}>Copy</button>
    </div>
  );
}
