// The bar above: which session, how it stands, what it took.

import type { JSX } from "preact";
import { open } from "../parts/dialog";
import { ago, compact, dollars, duration, grouped, plain } from "../parts/format";
import { AT } from "../data/types";
import { copyLink, listOpen } from "../state/commands";
import { expected, head, phase, rows, stop, total, version } from "../state/rows";
import { nextTheme, shade } from "../state/theme";
import { session } from "../state/view";
import { Answering } from "./waiting";

export function Header(): JSX.Element {
  return (
    <header class="bar">
      <button class="plain only-narrow" aria-expanded={listOpen.value} aria-label="Sessions" data-icon="menu" onClick={() => (listOpen.value = !listOpen.value)} />
      <a class="brand" href="#/">
        agentstream
      </a>
      <button class="switcher" onClick={() => (open.value = "palette")} title="Sessions and commands">
        <span class="title">{plain(head.value?.title || session.value || "Choose a session")}</span>
        <kbd>{/mac/i.test(navigator.platform) ? "⌘K" : "Ctrl K"}</kbd>
      </button>
      <Standing />
      <Answering />
      <Totals />
      <nav class="tools" aria-label="Page">
        {session.value !== null && (
          <>
            <button class="plain" onClick={copyLink} title="Copy a link to this view (y)">
              Share
            </button>
            <button class="plain" onClick={() => (open.value = "export")}>
              Export
            </button>
          </>
        )}
        <button class="plain icon" onClick={nextTheme} aria-label={`Use ${shade() === "dark" ? "light" : "dark"} colours`} data-icon="theme" title="Dark or light (t)" />
        <button class="plain icon" onClick={() => (open.value = "keys")} aria-label="Keys" data-icon="help" title="Keys (?)" />
      </nav>
    </header>
  );
}

/** Whether the page is up to date with the record, and how the run stands. */
function Standing(): JSX.Element | null {
  const now = phase.value;
  const status = head.value?.status;
  switch (now.name) {
    case "idle":
      return null;
    case "loading":
      return (
        <span class="standing" data-tone="busy" role="status">
          {grouped(total.value)} of {grouped(expected.value)} events
          <button class="link" onClick={stop}>
            Stop
          </button>
        </span>
      );
    case "stopped":
      return (
        <span class="standing" data-tone="off" role="status">
          stopped at {grouped(total.value)} of {grouped(expected.value)}
        </span>
      );
    case "live":
      return (
        <span class="standing" data-tone="live" role="status">
          live{status ? `, ${status}` : ""}
        </span>
      );
    case "reconnecting":
      return (
        <span class="standing" data-tone="warn" role="status">
          reconnecting
        </span>
      );
    case "sealed":
      return (
        <span class="standing" data-tone="off" role="status">
          closed{status ? `, ${status}` : ""}
        </span>
      );
    case "gone":
      return (
        <span class="standing" data-tone="bad" role="status">
          deleted
        </span>
      );
    case "failed":
      return (
        <span class="standing" data-tone="bad" role="status">
          error {now.status || ""}
        </span>
      );
    case "read":
      return (
        <span class="standing" data-tone="off" role="status">
          {status ?? "recorded"}
        </span>
      );
  }
}

function Totals(): JSX.Element | null {
  version.value;
  const known = head.value;
  if (!known) return null;
  const first = rows[0]?.[AT] ?? null;
  const latest = rows.at(-1)?.[AT] ?? null;
  const spent = first !== null && latest !== null ? latest - first : null;
  const cost = known.cost ? dollars(known.cost) : known.unpriced?.length ? "cost unknown" : "";
  return (
    <div class="totals">
      {cost && <span title={known.unpriced?.length ? `No price is known of ${plain(known.unpriced.join(", "))}` : "What the model calls cost"}>{cost}</span>}
      {known.input_tokens + known.output_tokens > 0 && (
        <span title="Tokens in and out">
          {compact(known.input_tokens)}↑ {compact(known.output_tokens)}↓
        </span>
      )}
      {spent !== null && spent > 0 && <span title={`From the first event to the last, ${ago(latest)} ago`}>{duration(spent)}</span>}
    </div>
  );
}
