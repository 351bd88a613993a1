// The sessions there are: each under what it was forked from.

import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { ago, compact, dollars, plain } from "../parts/format";
import { reveal, Window } from "../parts/window";
import type { Listed } from "../data/types";
import { source } from "../data/source";
import { listOpen } from "../state/commands";
import { about, asked, askedAgent, askedStatus, branches, busy, listing, listingProblem, more, refresh } from "../state/sessions";
import { fragment, session, visit } from "../state/view";

const HEIGHT = 30;
const STATUSES = ["running", "waiting", "failed", "cancelled", "exhausted", "finished", "abandoned"];

/** What there is no room for in the list. */
function told(listed: Listed): string {
  const run = `${listed.status ?? "no run"}, ${listed.events ?? "?"} events${listed.agent ? `, ${plain(listed.agent)}` : ""}`;
  const used = listed.input_tokens || listed.output_tokens ? `${compact(listed.input_tokens!)} tokens in, ${compact(listed.output_tokens!)} out, ${listed.cost === null ? "cost unknown" : dollars(listed.cost)}` : "";
  const failed = listed.failures ? `${listed.failures} failed` : "";
  return [plain(listed.id), run, used, failed].filter(Boolean).join("\n");
}

export function Sessions(): JSX.Element {
  const scroller = useRef<HTMLDivElement>(null);
  const found = branches.value;
  const place = found.findIndex((each) => each.listed.id === session.value);

  useEffect(() => {
    if (place >= 0) reveal(scroller.current!, place, HEIGHT);
  }, [session.value, listing.value === null]);

  const choose = (id: string) => {
    listOpen.value = false;
    visit(id);
  };
  const agents = listing.value?.agents ?? [];
  const loaded = listing.value?.sessions.length ?? 0;
  const filtered = asked.value || askedStatus.value || askedAgent.value;

  return (
    <section class="sessions pane" aria-label="Sessions" data-open={listOpen.value}>
      <div class="pane-head filters">
        <input
          id="sessions-find"
          type="search"
          placeholder="Filter sessions"
          aria-label="Filter sessions by id or title"
          value={asked.value}
          onInput={(event) => (asked.value = event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key === "Enter" && found[0]) choose(found[0].listed.id);
          }}
        />
        {source.live && (
          <div class="pickers">
            <select aria-label="Status" value={askedStatus.value} onChange={(event) => (askedStatus.value = event.currentTarget.value)}>
              <option value="">Any status</option>
              {(about.value?.statuses ?? STATUSES).map((each) => (
                <option key={each} value={each}>
                  {each}
                  {listing.value?.counts?.[each] ? ` (${listing.value.counts[each]})` : ""}
                </option>
              ))}
            </select>
            <select aria-label="Agent" value={askedAgent.value} onChange={(event) => (askedAgent.value = event.currentTarget.value)}>
              <option value="">Any agent</option>
              {agents.slice(0, 30).map((each) => (
                <option key={each} value={each}>
                  {plain(each)}
                </option>
              ))}
            </select>
          </div>
        )}
      </div>
      <div class="scroll" data-scroll ref={scroller} tabIndex={-1}>
        {listingProblem.value && !listing.value && (
          <div class="card bad" role="alert">
            <p>{plain(listingProblem.value.message)}</p>
            {listingProblem.value.hint && <p class="quiet">{plain(listingProblem.value.hint)}</p>}
            <button onClick={() => void refresh()}>Retry</button>
          </div>
        )}
        {listing.value === null && !listingProblem.value && <div class="skeleton" role="progressbar" aria-label="Loading" />}
        {listing.value !== null && !found.length && <p class="quiet pad">{filtered ? "No session fits." : "No sessions yet."}</p>}
        <Window
          count={found.length}
          height={HEIGHT}
          spare={2}
          render={(index) => {
            const { listed, depth } = found[index]!;
            // branches have their source's title: the id tells them apart
            const name = plain(depth || !listed.title ? listed.id : String(listed.title));
            return (
              <a
                key={listed.id}
                class="session"
                href={fragment(listed.id, null)}
                data-status={listed.status ?? "none"}
                aria-current={listed.id === session.value ? "page" : undefined}
                title={told(listed)}
                style={{ paddingLeft: `${12 + depth * 14}px` }}
                onClick={(event) => {
                  if (event.metaKey || event.ctrlKey || event.shiftKey) return;
                  event.preventDefault();
                  choose(listed.id);
                }}
              >
                <span class="name" data-icon={depth ? "fork" : undefined}>{name}</span>
                <span class="meta">
                  {(listed.failures ?? 0) > 0 && <i data-tone="bad">{compact(listed.failures!)}✗ </i>}
                  {[listed.cost ? dollars(listed.cost) : "", ago(listed.updated)].filter(Boolean).join("  ")}
                </span>
              </a>
            );
          }}
        />
        {listing.value !== null && loaded < listing.value.total && (
          <button class="link pad" disabled={busy.value} onClick={() => void more()}>
            Load more ({listing.value.total - loaded} left)
          </button>
        )}
      </div>
    </section>
  );
}
