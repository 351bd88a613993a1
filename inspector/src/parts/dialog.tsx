// A dialog of the browser's own: it keeps the focus inside, closes with Escape and gives the focus back.

import { signal } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

export type Open = "fork" | "replay" | "palette" | "keys" | "step" | "compare" | "export" | null;
export const open = signal<Open>(null);
export const close = () => (open.value = null);

interface Props {
  label: string;
  /** A drawer comes from the side, a sheet stands in the middle. */
  shape: "drawer" | "sheet" | "palette";
  children: ComponentChildren;
}

export function Dialog({ label, shape, children }: Props): JSX.Element {
  const box = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => {
    const dialog = box.current!;
    dialog.showModal();
    (dialog.querySelector<HTMLElement>(".dialog-body :is(input, select):not(:disabled), input[role=combobox]") ?? dialog).focus();
    return () => dialog.close();
  }, []);
  return (
    <dialog
      ref={box}
      class={shape}
      aria-label={label}
      tabIndex={-1}
      onCancel={(event) => {
        event.preventDefault();
        close();
      }}
      onClick={(event) => event.target === box.current && close()}
    >
      {children}
    </dialog>
  );
}

export function DialogHead({ title, children }: { title: string; children?: ComponentChildren }): JSX.Element {
  return (
    <header class="dialog-head">
      <h2>{title}</h2>
      {children}
      <button class="plain" onClick={close}>
        Close <kbd>esc</kbd>
      </button>
    </header>
  );
}
