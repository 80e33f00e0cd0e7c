// The metrics: charts that Python has laid out, of the last hour to 30 days. Pointing at a column, or
// the arrow keys, tell its numbers.

import { build } from "./belt.js";
import { h, setAttribute, setText } from "./elements.js";
import { watchNarrow } from "./narrow.js";
import { makePointing } from "./pointing.js";
import { makeSpans } from "./spans.js";

const PERIODS = { hour: "1 hour", day: "24 hours", week: "7 days", month: "30 days" };
const CHART_HINT = "Point at a column, or use the arrow keys, to read its numbers.";

/** @param {import("./panel.js").Page} page */
export function makeMetrics(page) {
  const told = h("span", { class: "cv-muted", "data-testid": "cv-metrics-told" });
  const off = h("p", { class: "cv-empty", "data-testid": "cv-metrics-off" });
  const hint = h("p", { class: "cv-hint", role: "status", "data-testid": "cv-metrics-hint" }, CHART_HINT);
  let narrow = false;
  let drawn = "";

  const ask = (more) => page.link.send({ do: "metrics", narrow, ...more });
  const spans = makeSpans(PERIODS, "cv-period", (span) => ask({ span }));
  const svg = /** @type {SVGSVGElement} */ (/** @type {any} */ (build(["svg", { class: "cvp", role: "img" }])));
  const node = h("div", {
    class: "cv-timeline", tabindex: "0", role: "group", "aria-label": "Metrics", "data-testid": "cv-metrics",
  }, svg);
  const head = h("div", { class: "cv-timeline-head" }, told, h("span", { class: "cv-gap" }), spans.node);

  const pointing = makePointing(node, {
    selector: ".cvp-bar",
    parts: () => [...svg.querySelectorAll(".cvp-bar")],
    tell: (title) => setText(hint, title || CHART_HINT),
  });

  watchNarrow(node, (isNarrow) => {
    narrow = isNarrow;
    ask({});
  });

  return {
    nodes: [off, head, node, hint],
    draw() {
      const { picture, told: words, span, off: why } = page.part("metrics");
      off.hidden = !why;
      for (const one of [head, node, hint]) one.hidden = Boolean(why);
      setText(off, why ?? "");
      const content = JSON.stringify(picture);
      if (why || content === drawn) return;
      drawn = content;
      setText(told, words);
      spans.show(span);
      const [, attributes, title, ...parts] = picture;
      svg.setAttribute("viewBox", attributes.viewBox);
      setAttribute(svg, "aria-label", title[2]);
      svg.replaceChildren(...parts.map(build));
      pointing.renew();
    },
  };
}
