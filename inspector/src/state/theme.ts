// Dark or light: as the system has it, or as was chosen.

import { effect, signal } from "@preact/signals";

const KEPT = "agentstream.theme";
export type Theme = "system" | "light" | "dark";

function kept(): Theme {
  try {
    const found = localStorage.getItem(KEPT);
    return found === "light" || found === "dark" ? found : "system";
  } catch {
    return "system"; // a page from a file may have no storage
  }
}

const system = matchMedia("(prefers-color-scheme: dark)");
const dark = signal(system.matches);
export const theme = signal<Theme>(kept());
/** What is on screen. */
export const shade = () => (theme.value === "system" ? (dark.value ? "dark" : "light") : theme.value);

export function nextTheme(): void {
  theme.value = shade() === "dark" ? "light" : "dark";
  try {
    localStorage.setItem(KEPT, theme.value);
  } catch {
    // for as long as the page is open, then
  }
}

export function keepTheme(): void {
  system.addEventListener("change", () => (dark.value = system.matches));
  effect(() => void (document.documentElement.dataset["theme"] = shade()));
}
