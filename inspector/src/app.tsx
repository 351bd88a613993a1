// The page: bar, sessions, timeline and detail (or two sessions side by side), scrubber.

import type { JSX } from "preact";
import { open } from "./parts/dialog";
import { copy, Notice } from "./parts/notices";
import { plain } from "./parts/format";
import { Fork } from "./drawers/fork";
import { ChooseOther, GoTo, Palette } from "./drawers/palette";
import { Replay } from "./drawers/replay";
import { Export, Keys } from "./drawers/small";
import { Banner } from "./panes/banner";
import { Compare } from "./panes/compare";
import { Detail } from "./panes/detail";
import { Header } from "./panes/header";
import { Scrubber } from "./panes/scrubber";
import { Sessions } from "./panes/sessions";
import { Timeline } from "./panes/timeline";
import { about, listing, listingProblem } from "./state/sessions";
import { phase, total } from "./state/rows";
import { comparison, session } from "./state/view";

const DIALOGS = { fork: Fork, replay: Replay, palette: Palette, keys: Keys, step: GoTo, compare: ChooseOther, export: Export };

export function App(): JSX.Element {
  const Shown = open.value === null ? null : DIALOGS[open.value];
  return (
    <>
      <Header />
      <main class="main">
        <Sessions />
        <div class="work">
          <Banner />
          {session.value === null ? <Welcome /> : comparison.value !== null ? <Compare /> : <Session />}
        </div>
      </main>
      <Scrubber />
      {Shown && <Shown />}
      <Notice />
    </>
  );
}

function Session(): JSX.Element {
  const nothing = !total.value && phase.value.name !== "loading" && phase.value.name !== "idle";
  if (nothing) {
    return (
      <div class="welcome">
        <h1>{phase.value.name === "failed" || phase.value.name === "gone" ? "It cannot be shown" : "No events yet"}</h1>
        <p class="quiet">{phase.value.name === "live" ? "They appear here as they are written." : "Choose another session on the left."}</p>
      </div>
    );
  }
  return (
    <div class="split">
      <Timeline />
      <Detail />
    </div>
  );
}

const RECORD = `from agentstream import Client, agent

Client().session("first").run(my_agent, "Hello")   # my_agent is an @agent function`;

/** Nothing is chosen, or nothing is there. */
function Welcome(): JSX.Element {
  const empty = listing.value !== null && listing.value.total === 0;
  return (
    <div class="welcome">
      <h1>{empty ? "No sessions yet" : listingProblem.value ? "No sessions to show" : "Choose a session"}</h1>
      {about.value && <p class="quiet">{plain(about.value.store)}</p>}
      {empty || listingProblem.value ? (
        <>
          <p>Three lines record one:</p>
          <pre tabIndex={0}>{RECORD}</pre>
          <div class="buttons">
            <button onClick={() => void copy(RECORD, "the lines")}>Copy</button>
            <button onClick={() => void copy("agentstream doctor", "the command")}>Copy: agentstream doctor</button>
          </div>
        </>
      ) : (
        <p class="quiet">
          From the list, or by <kbd>Ctrl K</kbd>. All keys: <kbd>?</kbd>
        </p>
      )}
    </div>
  );
}
