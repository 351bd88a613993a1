// Numbers and times as people read them.

export function duration(ms: number | null): string {
  if (ms === null) return "";
  if (ms < 1) return "<1 ms";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} m ${Math.round((ms % 60_000) / 1000)} s`;
  return `${Math.floor(ms / 3_600_000)} h ${Math.round((ms % 3_600_000) / 60_000)} m`;
}

export function compact(amount: number | null): string {
  if (amount === null) return "";
  if (amount < 1000) return String(amount);
  if (amount < 1_000_000) return `${(amount / 1000).toFixed(amount < 100_000 ? 1 : 0)}k`;
  return `${(amount / 1_000_000).toFixed(1)}M`;
}

export const grouped = (amount: number) => amount.toLocaleString("en").replaceAll(",", "\u202f");

export function dollars(amount: number | null | undefined): string {
  if (amount === null || amount === undefined) return "";
  if (amount === 0) return "$0";
  return amount < 0.01 ? `$${amount.toPrecision(2)}` : `$${amount.toFixed(amount < 1 ? 3 : 2)}`;
}

export function bytes(size: number): string {
  if (size < 1000) return `${size} B`;
  if (size < 1_000_000) return `${(size / 1000).toFixed(1)} KB`;
  return `${(size / 1_000_000).toFixed(1)} MB`;
}

export function ago(ms: number | null, now = Date.now()): string {
  if (ms === null) return "";
  const seconds = Math.max(0, Math.round((now - ms) / 1000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

export const moment = (ms: number | null) => (ms === null ? "" : new Date(ms).toISOString().replace("T", " "));

// Marks that turn text round, and controls: shown as what they are, so that no record can dress up as another.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g;

/** Text of a record, with what cannot be seen written as the command line writes it: \e, \x07, \u202e. */
export function plain(told: unknown): string {
  const text = typeof told === "string" ? told : told === null || told === undefined ? "" : JSON.stringify(told);
  return text.replace(HIDDEN, (found) => {
    const code = found.charCodeAt(0);
    if (code === 13) return "";
    if (code === 27) return "\\e";
    return code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16)}`;
  });
}
