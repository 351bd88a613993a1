// Sessions and commands by a few letters of their names.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { source } from "../data/source";
import type { Listed, Listing } from "../data/types";
import { close, Dialog } from "../parts/dialog";
import { ago, plain } from "../parts/format";
import { COMMANDS, written } from "../state/commands";
import { moveToStep, seek } from "../state/moving";
import { rows } from "../state/rows";
import { listing } from "../state/sessions";
import { comparison, session, visit } from "../state/view";

interface Choice {
  label: string;
  note: string;
  run: () => void;
}

const MOST = 12;

/** Of what fits, the likeliest first: a beginning of a word before letters somewhere. */
function fitting(text: string, sessions: Listed[]): Choice[] {
  const asked = text.trim().toLowerCase();
  const places: Choice[] = /^@?\d+$/.test(asked) && rows.length ? [{ label: `Go to @${asked.replace("@", "")}`, note: "event", run: () => seek(Number(asked.replace("@", ""))) }] : [];
  const commands = COMMANDS.filter((command) => command.when?.() !== false && command.label !== "Sessions and commands").map((command) => ({
    label: command.label,
    note: written(command.keys[0]!),
    run: command.run,
  }));
  const found = sessions.map((each) => ({ label: plain(each.title ? `${each.title}  ${each.id}` : each.id), note: `${each.status ?? ""} ${ago(each.updated)}`.trim(), run: () => visit(each.id) }));
  const rank = ({ label }: Choice) => {
    const at = label.toLowerCase().indexOf(asked);
    return at < 0 ? -1 : at === 0 || /[\s/]/.test(label[at - 1]!) ? 2 : 1;
  };
  const ranked = [...found, ...commands].map((choice) => [rank(choice), choice] as const).filter(([score]) => score > 0);
  return [...places, ...ranked.sort(([a], [b]) => b - a).map(([, choice]) => choice)].slice(0, MOST);
}

/** Sessions whose id or title holds a text; the server knows more than are listed. */
function useSessions(text: string): Listed[] {
  const [found, setFound] = useState<Listed[]>(listing.value?.sessions ?? []);
  useEffect(() => {
    const timer = setTimeout(() => {
      source.get<Listing>("sessions", { q: text.trim(), sort: "updated", limit: 20 }).then(({ sessions }) => setFound(sessions), () => undefined);
    }, 80);
    return () => clearTimeout(timer);
  }, [text]);
  return found;
}

function Chooser({ label, hint, choices, text, setText }: { label: string; hint: string; choices: Choice[]; text: string; setText: (text: string) => void }): JSX.Element {
  const [at, setAt] = useState(0);
  const chosen = Math.min(at, Math.max(choices.length - 1, 0));
  const take = (choice: Choice | undefined) => {
    if (!choice) return;
    close();
    choice.run();
  };
  return (
    <Dialog label={label} shape="palette">
      <input
        autoFocus
        role="combobox"
        aria-expanded="true"
        aria-controls="choices"
        aria-activedescendant={choices.length ? `choice-${chosen}` : undefined}
        aria-label={label}
        placeholder={hint}
        value={text}
        onInput={(event) => {
          setText(event.currentTarget.value);
          setAt(0);
        }}
        onKeyDown={(event) => {
          const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
          if (by) {
            event.preventDefault();
            setAt((chosen + by + choices.length) % Math.max(choices.length, 1));
          } else if (event.key === "Enter") {
            event.preventDefault();
            take(choices[chosen]);
          }
        }}
      />
      <div id="choices" role="listbox" aria-label={label} class="choices">
        {choices.map((choice, place) => (
          <div key={`${place} ${choice.label}`} id={`choice-${place}`} role="option" aria-selected={place === chosen} onClick={() => take(choice)} onPointerMove={() => setAt(place)}>
            <span>{choice.label}</span>
            <span class="quiet">{choice.note}</span>
          </div>
        ))}
      </div>
      {!choices.length && <p class="quiet pad">Nothing fits.</p>}
    </Dialog>
  );
}

export function Palette(): JSX.Element {
  const [text, setText] = useState("");
  return <Chooser label="Sessions and commands" hint="A session, a command, or @N" text={text} setText={setText} choices={fitting(text, useSessions(text))} />;
}

/** Which session the shown one is compared with. */
export function ChooseOther(): JSX.Element {
  const [text, setText] = useState("");
  const asked = text.trim().toLowerCase();
  const own = listing.value?.sessions.find((each) => each.id === session.value);
  const source: Choice[] = own?.parent && own.parent.toLowerCase().includes(asked) ? [{ label: `What it was forked from: ${plain(own.parent)}`, note: "source", run: () => (comparison.value = "") }] : [];
  const related = (each: Listed) => Number(each.parent === session.value || (own?.parent && each.parent === own.parent));
  const others = useSessions(text)
    .filter((each) => each.id !== session.value)
    .sort((a, b) => Number(related(b)) - Number(related(a)))
    .map((each) => ({ label: plain(each.title ? `${each.title}  ${each.id}` : each.id), note: related(each) ? "branch" : ago(each.updated), run: () => void (comparison.value = each.id) }));
  return <Chooser label="Compare with" hint="Another session" text={text} setText={setText} choices={[...source, ...others].slice(0, MOST)} />;
}

/** To an event or a step by its number. */
export function GoTo(): JSX.Element {
  const [text, setText] = useState("");
  const number = Number(text.replace(/^(@|step:)/, ""));
  const valid = text !== "" && Number.isInteger(number) && number >= 0;
  const choices: Choice[] = !valid
    ? []
    : [
        { label: `step:${number}`, note: "where it began", run: () => void moveToStep(number) },
        { label: `@${number}`, note: `the first ${number} events`, run: () => seek(number) },
      ];
  if (text.startsWith("@")) choices.reverse();
  return <Chooser label="Go to" hint="A step's number, or @N" text={text} setText={setText} choices={choices} />;
}
