// The bar below: through the session in time.

import type { JSX } from "preact";
import { grouped } from "../parts/format";
import { first, goLive, last, move, pause, playing, seek, speed, SPEEDS, togglePlay } from "../state/moving";
import { fresh, phase, total } from "../state/rows";
import { cursor } from "../state/view";

export function Scrubber(): JSX.Element {
  const all = total.value;
  const at = cursor.value;
  const behind = at < all;
  const followed = phase.value.name === "live" || phase.value.name === "reconnecting";
  return (
    <footer class="scrubber" aria-label="Position">
      <button class="plain icon" onClick={first} disabled={!all} data-icon="first" aria-label="First event" title="First (g)" />
      <button class="plain icon" onClick={() => move(-1)} disabled={!all} data-icon="previous" aria-label="Previous event" title="Previous (k)" />
      <button class="plain icon" onClick={togglePlay} disabled={!all} data-icon={playing.value ? "pause" : "play"} aria-label={playing.value ? "Pause" : "Play"} title="Play, pause (space)" />
      <button class="plain icon" onClick={() => move(1)} disabled={!all} data-icon="next" aria-label="Next event" title="Next (j)" />
      <button class="plain icon" onClick={last} disabled={!all} data-icon="last" aria-label="Last event" title="Last (G)" />
      <select aria-label="Speed" value={speed.value} onChange={(event) => (speed.value = Number(event.currentTarget.value) as (typeof SPEEDS)[number])}>
        {SPEEDS.map((each) => (
          <option key={each} value={each}>
            {each}×
          </option>
        ))}
      </select>
      <input
        type="range"
        min={all ? 1 : 0}
        max={all}
        value={at}
        style={{ "--part": `${all ? ((at - 1) / Math.max(all - 1, 1)) * 100 : 0}%` }}
        aria-label="Events kept"
        aria-valuetext={`${at} of ${all} events`}
        disabled={!all}
        onInput={(event) => {
          pause();
          seek(Number(event.currentTarget.value));
        }}
      />
      <span class="place">
        {grouped(at)} / {grouped(all)}
      </span>
      <span class="viewing quiet" role="status">
        {behind && followed ? `viewing @${at}, stream at ${grouped(all)}` : ""}
      </span>
      <button class="live-button" onClick={goLive} disabled={!behind} title="To the end (l)">
        {followed ? "Go live" : "To the end"}
        {fresh.value > 0 ? ` (${grouped(fresh.value)} new)` : ""}
      </button>
    </footer>
  );
}
