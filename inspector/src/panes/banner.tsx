// What stands in the way, said above what is already there.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { grouped, plain } from "../parts/format";
import type { Closed } from "../data/types";
import { copy } from "../parts/notices";
import { head, phase, read, retry, total, unreadable } from "../state/rows";
import { source } from "../data/source";
import { about } from "../state/sessions";

export function Banner(): JSX.Element | null {
  const now = phase.value;
  switch (now.name) {
    case "stopped":
      return (
        <div class="banner" role="status">
          Reading was stopped: {grouped(total.value)} events are here. <button onClick={() => void read()}>Read on</button>
        </div>
      );
    case "reconnecting":
      return <Reconnecting at={now.at} tries={now.tries} />;
    case "gone":
      return (
        <div class="banner bad" role="alert">
          {now.problem.code === "erased" ? "This session was erased (410)." : "This session was deleted (410)."} {plain(now.problem.message)} What was read of it stays here.
        </div>
      );
    case "failed":
      return (
        <div class="banner bad" role="alert">
          <b>{now.status || "No answer"}</b> {plain(now.problem.message)} {now.problem.hint && <span class="quiet">{plain(now.problem.hint)}</span>} <code>{plain(now.path.slice(0, 200))}</code> after event {grouped(total.value)}{" "}
          <button onClick={() => void read()}>Retry</button>
        </div>
      );
    default:
      return (
        <>
          {unreadable.value > 0 && <div class="banner bad">{unreadable.value} rows could not be read.</div>}
          {head.value?.closed && <Encrypted closed={head.value.closed} />}
          {!source.live && about.value?.exported && (
            <div class="banner">Exported {new Date(about.value.exported).toLocaleString()}. {"Only to be read."}</div>
          )}
        </>
      );
  }
}

/** Events whose key is not here: their rows say what stands in clear. */
function Encrypted({ closed }: { closed: Closed & { events: number } }): JSX.Element {
  const { command } = closed;
  return (
    <div class="banner warn" role="status">
      <b>
        {grouped(closed.events)} of {grouped(total.value)} events cannot be opened here.
      </b>{" "}
      {plain(closed.message)}. Their types, times and sizes are shown.
      {source.live && command && (
        <>
          {" "}
          Begin the page with the key: <code>{command}</code> <button onClick={() => void copy(command, "the command")}>Copy</button>
        </>
      )}
    </div>
  );
}

function Reconnecting({ at, tries }: { at: number; tries: number }): JSX.Element {
  const [left, setLeft] = useState(at - Date.now());
  useEffect(() => {
    setLeft(at - Date.now());
    const timer = setInterval(() => setLeft(at - Date.now()), 500);
    return () => clearInterval(timer);
  }, [at]);
  return (
    <div class="banner warn" role="status">
      The stream was interrupted after event {grouped(total.value)}. Try {tries} {left > 0 ? `in ${Math.ceil(left / 1000)} s` : "now"}. <button onClick={retry}>Retry</button>
    </div>
  );
}

