// A list of which only what is in view is in the document. Rows have one height; the list may be as long as it likes.

import type { ComponentChildren, JSX } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";

interface Props {
  count: number;
  height: number;
  render: (index: number) => ComponentChildren;
  /** Rows kept ready above and below what is in view. */
  spare?: number;
}

/** Draws the rows of `count` that the nearest `[data-scroll]` around it has in view. */
export function Window({ count, height, render, spare = 4 }: Props): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const [range, setRange] = useState<readonly [number, number]>([0, 0]);

  useLayoutEffect(() => {
    const own = box.current!;
    const scroller = own.closest<HTMLElement>("[data-scroll]")!;
    const look = () => {
      const above = scroller.getBoundingClientRect().top - own.getBoundingClientRect().top;
      const first = Math.max(0, Math.floor(above / height) - spare);
      const last = Math.min(count, Math.ceil((above + scroller.clientHeight) / height) + spare);
      setRange((now) => (now[0] === first && now[1] === last ? now : [first, Math.max(first, last)]));
    };
    look();
    scroller.addEventListener("scroll", look, { passive: true });
    const resized = new ResizeObserver(look);
    resized.observe(scroller);
    resized.observe(own.parentElement!);
    return () => {
      scroller.removeEventListener("scroll", look);
      resized.disconnect();
    };
  }, [count, height, spare]);

  const drawn: ComponentChildren[] = [];
  for (let index = range[0]; index < Math.min(range[1], count); index++) drawn.push(render(index));
  return (
    <div ref={box} class="window" role="presentation" style={{ height: `${count * height}px` }}>
      <div role="presentation" class="window-rows" style={{ transform: `translateY(${range[0] * height}px)` }}>
        {drawn}
      </div>
    </div>
  );
}

/** Scrolls so that row `index` is in view, with a few of its neighbours. */
export function reveal(scroller: HTMLElement, index: number, height: number, offset = 0): void {
  const top = index * height + offset;
  const room = scroller.clientHeight;
  const margin = Math.min(3 * height, room / 4);
  if (top - margin < scroller.scrollTop) scroller.scrollTop = top - (scroller.scrollTop - top > room ? room / 2 : margin);
  else if (top + height + margin > scroller.scrollTop + room) {
    const far = top - scroller.scrollTop > 2 * room;
    scroller.scrollTop = far ? top - room / 2 : top + height + margin - room;
  }
}
