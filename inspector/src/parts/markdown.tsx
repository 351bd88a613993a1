// What a model or a person wrote, as it was meant to be read. It is a stranger's text: only harmless elements are made.

import DOMPurify from "dompurify";
import type { JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { marked } from "marked";
import { plain } from "./format";

const TAGS = [
  "a", "b", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "li", "ol", "p", "pre", "s",
  "strong", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr", "ul",
];
/** A longer text is shown as it is: nobody reads it for its headings. */
export const LONGEST = 40_000;

// Pictures would be asked for from who knows where: their text stands for them. HTML in a text is text.
marked.use({
  gfm: true,
  renderer: {
    image: ({ text, href }) => `[${escaped(text || "picture")}: ${escaped(href)}]`,
    html: ({ text }) => escaped(text),
  },
});

const escaped = (text: string) => text.replace(/[&<>"']/g, (found) => `&#${found.charCodeAt(0)};`);

DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName === "A") {
    if (!/^(https?|mailto):/i.test(node.getAttribute("href") ?? "")) node.removeAttribute("href");
    node.setAttribute("target", "_blank");
    node.setAttribute("rel", "noopener noreferrer nofollow");
  }
});

export function Markdown({ text }: { text: string }): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const made = marked.parse(plain(text), { async: false });
    box.current!.replaceChildren(
      DOMPurify.sanitize(made, { ALLOWED_TAGS: TAGS, ALLOWED_ATTR: ["href", "title", "start"], ALLOW_DATA_ATTR: false, ALLOW_ARIA_ATTR: false, RETURN_DOM_FRAGMENT: true }),
    );
  }, [text]);
  return <div class="markdown" dir="auto" ref={box} />;
}
