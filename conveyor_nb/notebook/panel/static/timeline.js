// The timeline: a row for each slot, a bar for each attempt, laid out by Python. Pointing at a bar
// tells of it, as do the arrow keys; a click, or Enter, opens its job.

import { build } from "./belt.js";
import { h, setAttribute, setText } from "./elements.js";
import { makeHeights, watchNarrow } from "./narrow.js";
import { makePointing } from "./pointing.js";
import { makeSpans } from "./spans.js";

const SPANS = { minute: "Last minute", all: "All" };
const ZOOMS = {
  earlier: ["‹", "Earlier"], out: ["−", "Show more time"], in: ["+", "Show less time"], later: ["›", "Later"],
};
const ZOOM_KEYS = { "+": "in", "=": "in", "-": "out" };
const HINT = "Point at a bar, or use the arrow keys; click it, or press Enter, to open its job; + and − zoom.";

/** @param {import("./panel.js").Page} page */
export function makeTimeline(page) {
  const told = h("span", { class: "cv-muted", "data-testid": "cv-timeline-told" });
  const hint = h("p", { class: "cv-hint", role: "status", "data-testid": "cv-timeline-hint" }, HINT);
  let narrow = false;
  let drawn = "";
  const heights = makeHeights();

  const ask = (more) => page.link.send({ do: "timeline", narrow, ...more });
  const spans = makeSpans(SPANS, "cv-span", (span) => ask({ span }));
  const svg = /** @type {SVGSVGElement} */ (/** @type {any} */ (build(["svg", { class: "cvp", role: "img" }])));
  const node = h("div", {
    class: "cv-timeline", tabindex: "0", role: "group", "aria-label": "Attempts",
    "data-testid": "cv-timeline",
  }, svg);

  const zoom = (span) => ask({ span, id: pointing.key() });
  const zooms = h("div", { class: "cv-spans", role: "group", "aria-label": "Zoom" },
    ...Object.entries(ZOOMS).map(([span, [sign, name]]) => h("button", {
      type: "button", class: "cv-button", "aria-label": name, title: name, "data-testid": `cv-zoom-${span}`,
      onclick: () => zoom(span),
    }, sign)));
  const pointing = makePointing(node, {
    selector: ".cvp-bar",
    parts: () => [...svg.querySelectorAll(".cvp-bar")],
    tell: (title) => setText(hint, title || HINT),
    open: ({ dataset }) => page.openJob(dataset.key ?? ""),
  });
  node.addEventListener("keydown", (event) => {
    if (!(event.key in ZOOM_KEYS)) return;
    event.preventDefault();
    zoom(ZOOM_KEYS[event.key]);
  });

  watchNarrow(node, (isNarrow) => {
    narrow = isNarrow;
    ask({});
  });

  return {
    nodes: [h("div", { class: "cv-timeline-head" }, told, h("span", { class: "cv-gap" }), zooms, spans.node), node, hint],
    draw() {
      const { picture, told: words, span } = page.part("timeline");
      setText(told, words);
      spans.show(span);
      const content = JSON.stringify(picture);
      if (content === drawn) return;
      drawn = content;
      const [, attributes, title, ...parts] = picture;
      const [, , width, height] = attributes.viewBox.split(" ").map(Number);
      svg.setAttribute("viewBox", `0 0 ${width} ${heights.of(width, height)}`);
      setAttribute(svg, "aria-label", title[2]);
      svg.replaceChildren(...parts.map(build));
      pointing.renew();
    },
  };
}
