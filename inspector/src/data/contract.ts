// What a source of documents does, and how it refuses.

import type { Problem } from "./types";

/** A request that was refused or did not get through. `status` is 0 where no answer came. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly problem: Problem,
    readonly path: string,
  ) {
    super(problem.message);
  }
}

export type Query = Record<string, string | number | boolean | null | undefined>;

export interface Source {
  /** False where there is nobody to ask for more: an export. */
  readonly live: boolean;
  /** Whether sessions can be compared. */
  readonly compares: boolean;
  get<T>(path: string, query?: Query, signal?: AbortSignal): Promise<T>;
  post<T>(path: string, body: unknown): Promise<T>;
  /** Each line of a stream of JSON values; returns when it ends. Lines that came together are handed on together. */
  lines(path: string, query: Query, take: (lines: unknown[]) => void, signal: AbortSignal): Promise<void>;
  /** A whole body, to be saved as a file. */
  blob(path: string, query: Query): Promise<Blob>;
}

export function address(path: string, query: Query = {}): string {
  const told = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false);
  const text = new URLSearchParams(told.map(([name, value]) => [name, value === true ? "1" : String(value)])).toString();
  return `/api/${path}${text ? `?${text}` : ""}`;
}
