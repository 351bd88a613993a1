import { render } from "preact";
import "@preact/signals"; // components that read signals follow them
import { App } from "./app";
import { source } from "./data/source";
import { findWhatIsLookedFor } from "./state/finding";
import { listen } from "./state/commands";
import { keepCompared } from "./state/comparing";
import { fetchWhatIsLookedAt } from "./state/details";
import { endPlayWithTheSession } from "./state/moving";
import { followTheView, head } from "./state/rows";
import { about, keepListed, learn, listing } from "./state/sessions";
import { keepTheme } from "./state/theme";
import { keepInUrl, session, visit } from "./state/view";
import { effect } from "@preact/signals";
import "./style/tokens.css";
import "./style/page.css";
import "./style/panes.css";
import "./style/parts.css";
import "./style/icons.css";
import "./style/narrow.css";

void source; // first of all: it takes the token out of the URL
keepTheme();
keepInUrl();
endPlayWithTheSession();
followTheView();
fetchWhatIsLookedAt();
keepCompared();
findWhatIsLookedFor();
keepListed();
listen();
void learn().then(() => {
  // an export of one session opens with it
  const only = about.value?.start?.session ?? (source.live ? null : (listing.value?.sessions[0]?.id ?? null));
  if (session.value === null && only) visit(only, about.value?.start?.at ?? null);
});
effect(() => {
  document.title = session.value === null ? "agentstream" : `${head.value?.title || session.value} – agentstream`;
});
render(<App />, document.getElementById("page")!);
