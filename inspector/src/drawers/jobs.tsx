// Command lines that the server runs for the page.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Job } from "../data/types";
import { source } from "../data/source";
import { duration, plain } from "../parts/format";
import { session } from "../state/view";

/** Begins a job and returns it when it has ended; `tell` hears of it meanwhile. */
export async function finished(asked: object, tell: (job: Job) => void): Promise<Job> {
  const begun = await source.post<{ job: string; command: string }>("jobs", asked);
  let job: Job = { job: begun.job, verb: "", state: "running", code: null, command: begun.command, result: null, error: null, stderr: "", ms: 0 };
  tell(job);
  while (job.state === "running") {
    job = await source.get<Job>("jobs", { job: begun.job, wait: 1 });
    tell(job);
  }
  return job;
}

export const halt = async (job: Job) => await source.post<Job>("jobs/stop", { job: job.job });

/** The agents that may be meant, the likeliest first. */
export function useEntrypoints(): string[] {
  const [found, setFound] = useState<string[]>([]);
  useEffect(() => {
    source.get<{ entrypoints: string[] }>("entrypoints", { session: session.value }).then(({ entrypoints }) => setFound(entrypoints.slice(0, 20)), () => setFound([]));
  }, []);
  return found;
}

export function Ended({ job }: { job: Job }): JSX.Element {
  return (
    <details class="job" open={job.error !== null}>
      <summary>{job.state === "running" ? "Running…" : `${job.state === "stopped" ? "Stopped" : `Ended with exit code ${job.code}`} after ${duration(job.ms)}`}</summary>
      <pre tabIndex={0}>{plain(job.stderr) || "It wrote nothing to its standard error."}</pre>
    </details>
  );
}
