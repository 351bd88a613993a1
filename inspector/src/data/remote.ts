// The server that served this page. Its token came in the URL's fragment and stays in this tab.

import { address, Refused, type Query, type Source } from "./contract";

const KEPT = "agentstream.token";

/** Takes the token out of the URL, so that a link that is shared does not hold it. */
function token(): string {
  const found = /([?&])token=([^&]*)&?/.exec(location.hash);
  if (found) {
    sessionStorage.setItem(KEPT, decodeURIComponent(found[2]!));
    const rest = location.hash.replace(found[0], found[1]!).replace(/[?&]$/, "");
    history.replaceState(null, "", location.pathname + location.search + rest);
  }
  return sessionStorage.getItem(KEPT) ?? "";
}

export function remote(): Source {
  const held = token();

  async function ask(url: string, init: RequestInit = {}): Promise<Response> {
    let answer: Response;
    try {
      answer = await fetch(url, { ...init, headers: { ...init.headers, Authorization: `Bearer ${held}` }, cache: "no-store" });
    } catch (error) {
      if (init.signal?.aborted) throw error;
      throw new Refused(0, { code: "unreachable", message: "the server of this page does not answer", hint: "is agentstream ui still running?" }, url);
    }
    if (!answer.ok) throw await refusal(answer, url);
    return answer;
  }

  return {
    live: true,
    compares: true,
    async get<T>(path: string, query?: Query, signal?: AbortSignal) {
      return (await (await ask(address(path, query), { signal: signal ?? null })).json()) as T;
    },
    async post<T>(path: string, body: unknown) {
      const init = { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
      return (await (await ask(address(path), init)).json()) as T;
    },
    async lines(path, query, take, signal) {
      const answer = await ask(address(path, query), { signal });
      const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        const parts = (rest + value).split("\n");
        rest = parts.pop()!;
        take(parts.filter((part) => part !== "").map(parsed));
      }
      if (rest.trim() !== "") take([parsed(rest)]);
    },
    async blob(path, query) {
      return await (await ask(address(path, query))).blob();
    },
  };
}

/** A line's value. One that is no JSON is told as such, and the lines after it are read. */
function parsed(line: string): unknown {
  try {
    return JSON.parse(line) as unknown;
  } catch {
    return { unreadable: line.length };
  }
}

async function refusal(answer: Response, url: string): Promise<Refused> {
  const said = (await answer.json().catch(() => null)) as { error?: { code?: string; message?: string; hint?: string } } | null;
  const problem = said?.error;
  return new Refused(
    answer.status,
    { code: problem?.code ?? "failed", message: problem?.message ?? (answer.statusText || "the server refused"), ...(problem?.hint ? { hint: problem.hint } : {}) },
    url,
  );
}
