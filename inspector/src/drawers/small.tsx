// The smaller dialogs: keys, export.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { source } from "../data/source";
import { close, Dialog, DialogHead } from "../parts/dialog";
import { copy, save } from "../parts/notices";
import { COMMANDS, written } from "../state/commands";
import { problemOf } from "../state/details";
import { session } from "../state/view";
import { CommandLine, Trouble } from "./fork";
import type { Problem } from "../data/types";

export function Keys(): JSX.Element {
  const groups = ["Move", "Look", "Branches", "Page"] as const;
  return (
    <Dialog label="Keys" shape="sheet">
      <DialogHead title="Keys" />
      <div class="keys">
        {groups.map((group) => (
          <section key={group}>
            <h3>{group}</h3>
            {COMMANDS.filter((command) => command.group === group).map((command) => (
              <p key={command.label}>
                <span>{command.label}</span>
                <span>
                  {command.keys.map((key) => (
                    <kbd key={key}>{written(key)}</kbd>
                  ))}
                </span>
              </p>
            ))}
          </section>
        ))}
      </div>
    </Dialog>
  );
}

const FORMATS = [
  ["html", "One page", "opens offline, as this page, to be read"],
  ["jsonl", "JSON lines", "complete, and can be imported again"],
  ["markdown", "Markdown", "to read"],
  ["json", "JSON", "one document, everything resolved"],
] as const;
const ENDINGS: Record<string, string> = { html: "html", jsonl: "jsonl", markdown: "md", json: "json" };

export function Export(): JSX.Element {
  const [busy, setBusy] = useState<string | null>(null);
  const [forks, setForks] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const id = session.value ?? "";
  const take = async (format: string) => {
    setBusy(format);
    setProblem(null);
    try {
      save(await source.blob("export", { session: id, format, forks }), `${id}.${ENDINGS[format]}`);
      close();
    } catch (error) {
      setProblem(problemOf(error));
    } finally {
      setBusy(null);
    }
  };
  const command = `agentstream export ${/^[\w./-]+$/.test(id) ? id : `'${id.replaceAll("'", "'\\''")}'`} --format html -o session.html`;
  return (
    <Dialog label="Export" shape="sheet">
      <DialogHead title="Export" />
      <div class="dialog-body">
        {source.live ? (
          <>
            <ul class="plain-list formats">
              {FORMATS.map(([format, name, what]) => (
                <li key={format}>
                  <button disabled={busy !== null} onClick={() => void take(format)}>
                    {busy === format ? "Writing…" : name}
                  </button>
                  <span class="quiet">{what}</span>
                </li>
              ))}
            </ul>
            <label class="choice">
              <input type="checkbox" checked={forks} onChange={(event) => setForks(event.currentTarget.checked)} /> With its forks
            </label>
            {problem && <Trouble problem={problem} />}
            <CommandLine command={command} />
          </>
        ) : (
          <p>
            This page is an export. <button onClick={() => void copy(command, "the command")}>Copy the command that makes one</button>
          </p>
        )}
      </div>
    </Dialog>
  );
}
