// The timeline: a row for each slot, a bar for each attempt, laid out by Python. Pointing at a bar
// tells of it, as do the arrow keys; a click, or Enter, opens its job.

import { build } from "./belt.js";
import { h, setAttribute, setText } from "./elements.js";
import { makeSpans } from "./spans.js";

const SPANS = { minute: "Last minute", all: "All" };
const ZOOMS = {
  earlier: ["‹", "Earlier"], out: ["−", "Show more time"], in: ["+", "Show less time"], later: ["›", "Later"],
};
const ZOOM_KEYS = { "+": "in", "=": "in", "-": "out" };
const NARROW_TIMELINE = 640; // pixels
const HINT = "Point at a bar, or use the arrow keys; click it, or press Enter, to open its job; + and − zoom.";

/**
 * Which bar comes next by an arrow key; the bars are in order from the first row on.
 * @param {number} at the one that is chosen, -1: none is
 * @param {string} key
 * @param {number} count how many there are
 */
export function nextBar(at, key, count) {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[key] ?? 0;
  if (key === "Home" || (at < 0 && step > 0)) return 0;
  if (key === "End" || (at < 0 && step < 0)) return count - 1;
  return Math.min(count - 1, Math.max(0, at + step));
}

/** @param {import("./panel.js").Page} page */
export function makeTimeline(page) {
  const told = h("span", { class: "cv-muted", "data-testid": "cv-timeline-told" });
  const hint = h("p", { class: "cv-hint", role: "status", "data-testid": "cv-timeline-hint" }, HINT);
  let narrow = false;
  let chosen = -1;
  let drawn = "";
  let tallest = 0;

  const ask = (more) => page.link.send({ do: "timeline", narrow, ...more });
  const spans = makeSpans(SPANS, "cv-span", (span) => ask({ span }));
  const svg = /** @type {SVGSVGElement} */ (/** @type {any} */ (build(["svg", { class: "cvp", role: "img" }])));
  const node = h("div", {
    class: "cv-timeline", tabindex: "0", role: "group", "aria-label": "Attempts",
    "data-testid": "cv-timeline",
  }, svg);

  const zoom = (span) => ask({ span, id: /** @type {SVGElement | undefined} */ (bars()[chosen])?.dataset.key ?? "" });
  const zooms = h("div", { class: "cv-spans", role: "group", "aria-label": "Zoom" },
    ...Object.entries(ZOOMS).map(([span, [sign, name]]) => h("button", {
      type: "button", class: "cv-button", "aria-label": name, title: name, "data-testid": `cv-zoom-${span}`,
      onclick: () => zoom(span),
    }, sign)));

  const bars = () => [...svg.querySelectorAll(".cvp-bar")];
  const titleOf = (bar) => bar?.querySelector("title")?.textContent ?? HINT;

  function choose(at) {
    chosen = at;
    const all = bars();
    all.forEach((bar, place) => bar.classList.toggle("cvp-chosen", place === at));
    setText(hint, titleOf(all[at]));
  }

  // by where the pointer is: a new picture may have come between its going down and up
  const barAt = (event) => node.ownerDocument.elementsFromPoint(event.clientX, event.clientY)
    .map((one) => one.closest(".cvp-bar")).find((one) => one && svg.contains(one));

  node.addEventListener("pointermove", (event) => choose(bars().indexOf(barAt(event) ?? svg)));
  node.addEventListener("pointerleave", () => choose(-1));
  node.addEventListener("click", (event) => {
    const bar = /** @type {SVGElement | undefined} */ (barAt(event));
    if (bar) page.openJob(bar.dataset.key ?? "");
  });
  node.addEventListener("keydown", (event) => {
    const all = bars();
    if (event.key === "Enter" && all[chosen]) {
      page.openJob(/** @type {SVGElement} */ (all[chosen]).dataset.key ?? "");
    } else if (event.key in ZOOM_KEYS) {
      event.preventDefault();
      zoom(ZOOM_KEYS[event.key]);
    } else if (/^(Arrow|Home|End)/.test(event.key) && all.length) {
      event.preventDefault();
      choose(nextBar(chosen, event.key, all.length));
    }
  });

  new ResizeObserver(([{ contentRect }]) => {
    if (!contentRect.width || contentRect.width < NARROW_TIMELINE === narrow) return;
    narrow = !narrow;
    tallest = 0;
    ask({});
  }).observe(node);

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
      tallest = Math.max(tallest, height); // nothing below it jumps
      svg.setAttribute("viewBox", `0 0 ${width} ${tallest}`);
      setAttribute(svg, "aria-label", title[2]);
      const key = /** @type {SVGElement | undefined} */ (bars()[chosen])?.dataset.key;
      svg.replaceChildren(...parts.map(build));
      if (key) choose(bars().findIndex((bar) => /** @type {SVGElement} */ (bar).dataset.key === key));
    },
  };
}
