// The whole session at a glance: how long things took, what failed, where it was forked.

import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { FORKS, MS, SIZE } from "../data/types";
import { category, failed, rows, total, version } from "../state/rows";
import { seek } from "../state/moving";
import { shade } from "../state/theme";
import { cursor } from "../state/view";

const HEIGHT = 44;
const BAR = 3;

interface Bucket {
  height: number;
  tone: string;
  failed: boolean;
  forked: boolean;
}

/** As many buckets as bars fit, each with the longest (else the largest) of its events. */
function buckets(count: number): Bucket[] {
  const found: Bucket[] = [];
  const size = Math.max(1, rows.length / count);
  let highest = 1;
  for (let place = 0; place < Math.min(count, rows.length); place++) {
    const bucket: Bucket = { height: 0, tone: "run", failed: false, forked: false };
    for (let index = Math.floor(place * size); index < Math.floor((place + 1) * size); index++) {
      const row = rows[index]!;
      const weight = row[MS] !== null ? 1 + Math.log2(1 + row[MS]) : 0.2 * Math.log2(1 + row[SIZE] / 100);
      if (weight >= bucket.height) {
        bucket.height = weight;
        bucket.tone = category(row);
      }
      bucket.failed ||= failed(row);
      bucket.forked ||= row[FORKS] > 0;
    }
    highest = Math.max(highest, bucket.height);
    found.push(bucket);
  }
  for (const bucket of found) bucket.height /= highest;
  return found;
}

function draw(canvas: HTMLCanvasElement): void {
  const width = canvas.clientWidth;
  const scale = devicePixelRatio || 1;
  canvas.width = width * scale;
  canvas.height = HEIGHT * scale;
  const pen = canvas.getContext("2d")!;
  pen.scale(scale, scale);
  const style = getComputedStyle(canvas);
  const colour = (name: string) => style.getPropertyValue(name);
  const tones: Record<string, string> = { model: colour("--accent"), tool: colour("--text-2") };
  const bad = colour("--bad");
  const rest = colour("--line-strong");
  const all = buckets(Math.floor(width / BAR));
  const step = all.length ? width / all.length : 0;
  all.forEach((bucket, place) => {
    const height = Math.max(2, bucket.height * (HEIGHT - 12));
    pen.fillStyle = bucket.failed ? bad : (tones[bucket.tone] ?? rest);
    pen.fillRect(place * step, HEIGHT - height, Math.max(1, Math.min(step - 1, 8)), height);
    if (bucket.forked) {
      pen.fillStyle = colour("--accent");
      pen.beginPath();
      pen.arc(place * step + 2, 5, 2.5, 0, 7);
      pen.fill();
    }
  });
}

export function Strip(): JSX.Element {
  const canvas = useRef<HTMLCanvasElement>(null);
  const mode = shade();
  const now = version.value;
  const asked = useRef(0);

  useEffect(() => {
    // not with every line that comes: once a frame is as often as it can be seen
    asked.current ||= requestAnimationFrame(() => {
      asked.current = 0;
      if (canvas.current) draw(canvas.current);
    });
  }, [now, mode]);
  useEffect(() => {
    const resized = new ResizeObserver(() => canvas.current && draw(canvas.current));
    resized.observe(canvas.current!);
    return () => resized.disconnect();
  }, []);

  const go = (event: PointerEvent) => {
    const box = canvas.current!.getBoundingClientRect();
    seek(Math.ceil(((event.clientX - box.left) / box.width) * rows.length));
  };
  const part = total.value ? cursor.value / total.value : 0;
  return (
    <div
      class="strip"
      role="img"
      aria-label={`Overview of ${total.value} events; bars are times taken, red is failed, dots are forks`}
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId);
        go(event);
      }}
      onPointerMove={(event) => event.buttons && go(event)}
    >
      <canvas ref={canvas} />
      <div class="strip-cursor" style={{ left: `${part * 100}%` }} />
    </div>
  );
}
