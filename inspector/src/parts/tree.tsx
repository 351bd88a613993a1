// A value of JSON, opened as far as one likes.

import type { JSX } from "preact";
import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Cut, Json } from "../data/types";
import { bytes, compact } from "./format";
import { linesOf, type Line } from "./lines";
import { Window } from "./window";

const HEIGHT = 20;
const CHARACTER = 7.3;

interface Props {
  value: Json;
  label: string;
  cuts?: Cut[];
  /** The whole of a cut value. */
  load?: (path: string) => Promise<Json>;
  /** Saves the whole of a cut value as a file. */
  download?: (path: string) => void;
}

export function Tree({ value, label, cuts = [], load, download }: Props): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const [opened, setOpened] = useState<ReadonlyMap<string, boolean>>(new Map());
  const [loaded, setLoaded] = useState<ReadonlyMap<string, Json>>(new Map());
  const [busy, setBusy] = useState<string | null>(null);
  const [columns, setColumns] = useState(80);

  useLayoutEffect(() => {
    setOpened(new Map());
    setLoaded(new Map());
  }, [value]);

  useLayoutEffect(() => {
    const fit = () => setColumns(Math.floor(((box.current?.clientWidth ?? 600) - 40) / CHARACTER));
    const resized = new ResizeObserver(fit);
    resized.observe(box.current!);
    const all = (event: Event) => {
      const open = (event as CustomEvent<boolean>).detail;
      setOpened(new Map(branchesOf(value).map((path) => [path, open])));
    };
    document.addEventListener("expand", all);
    return () => {
      resized.disconnect();
      document.removeEventListener("expand", all);
    };
  }, [value]);

  const lines = useMemo(
    () => linesOf(value, { opened, loaded, columns, cuts: new Map(cuts.map((cut) => [cut.path, cut])) }),
    [value, opened, loaded, columns, cuts],
  );

  const toggle = (line: Line) => setOpened((now) => new Map(now).set(line.path, !line.open));
  const whole = async (line: Line) => {
    setBusy(line.path);
    try {
      const found = await load!(line.path);
      setLoaded((now) => new Map(now).set(line.path, found));
      setOpened((now) => new Map(now).set(line.path, true));
    } finally {
      setBusy(null);
    }
  };

  return (
    <div class="tree" ref={box} role="group" aria-label={label}>
      <Window
        count={lines.length}
        height={HEIGHT}
        render={(index) => {
          const line = lines[index]!;
          const told = (
            <>
              {line.name !== null && <span class="name">{`${line.name}: `}</span>}
              {line.text}
            </>
          );
          const place = { key: index, class: `line ${line.tone}`, style: { paddingLeft: `${line.depth * 14 + 16}px` } };
          if (line.cut) {
            return (
              <div {...place}>
                {line.open === null ? (
                  <span class="told">{told}</span>
                ) : (
                  <button class="told" aria-expanded={line.open} onClick={() => toggle(line)}>
                    {told}
                  </button>
                )}
                <span class="cut">
                  {line.cut.kind === "text" || line.cut.kind === "blob" ? bytes(line.cut.size) : `${compact(line.cut.size)} in all`}
                  {load && (
                    <button class="link" disabled={busy !== null} onClick={() => void whole(line)}>
                      {busy === line.path ? "Loading…" : "Load full"}
                    </button>
                  )}
                  {download && (
                    <button class="link" onClick={() => download(line.path)}>
                      Download
                    </button>
                  )}
                </span>
              </div>
            );
          }
          return line.open === null ? (
            <div {...place}>{told}</div>
          ) : (
            <button {...place} aria-expanded={line.open} onClick={() => toggle(line)}>
              {told}
            </button>
          );
        }}
      />
    </div>
  );
}

/** The places of a value that can be opened, not more than a person can look through. */
function branchesOf(value: Json, path = "", found: string[] = []): string[] {
  if (value !== null && typeof value === "object" && found.length < 5000) {
    found.push(path);
    for (const [key, each] of Object.entries(value)) branchesOf(each as Json, `${path}/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`, found);
  } else if (typeof value === "string") {
    found.push(path);
  }
  return found;
}
