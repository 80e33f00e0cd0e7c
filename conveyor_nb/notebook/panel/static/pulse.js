// The last minute of a queue as a little chart: what completed above the line, what failed below it.

import { build } from "./belt.js";
import { h, memo } from "./elements.js";

const BAR = 2; // the width of a second, in the chart's own units
const UP = 13;
const DOWN = 7;

/**
 * The bars of counts as the path of an outline, from a line up or down.
 * @param {number[]} counts
 * @param {number} most the largest there is
 * @param {number} line where the line is
 * @param {number} high how far the largest goes; less than nothing: upwards
 */
export function barsPath(counts, most, line, high) {
  const least = Math.sign(high);
  return counts.map((count, place) => {
    if (!count) return "";
    const to = Math.abs(high * count / most) < 1 ? least : Math.round(10 * high * count / most) / 10;
    return `M${place * BAR} ${line}h${BAR - 0.4}v${to}h-${BAR - 0.4}z`;
  }).join("");
}

/** What the chart says in words. @param {{done: number[], failed: number[]}} pulse */
export function pulseWords({ done, failed }) {
  const [good, bad] = [done, failed].map((counts) => counts.reduce((sum, count) => sum + count, 0).toLocaleString("en"));
  return `In the last minute: ${good} completed, ${bad} failed`;
}

/** @param {{done: number[], failed: number[]}} pulse @returns {SVGElement} */
export function sparkline(pulse) {
  const { done, failed } = pulse;
  const bars = (state, path) => ["path", { class: `cv-spark-${state}`, d: path }];
  return build(["svg", {
    class: "cv-spark", role: "img", "aria-label": pulseWords(pulse), preserveAspectRatio: "none",
    viewBox: `0 0 ${done.length * BAR} ${UP + DOWN + 1}`,
  }, ["title", {}, pulseWords(pulse)],
  ["path", { class: "cv-spark-line", d: `M0 ${UP}h${done.length * BAR}` }],
  bars("done", barsPath(done, Math.max(1, ...done), UP - 0.5, -UP)),
  bars("failed", barsPath(failed, Math.max(1, ...failed), UP + 0.5, DOWN))]);
}

/** @param {import("./panel.js").Page} page */
export function makePulse(page) {
  const node = h("div", { class: "cv-pulse", "data-testid": "cv-pulse" });
  return {
    nodes: [node],
    draw() {
      const pulse = page.part("pulse");
      memo(node, [pulse.done, pulse.failed], () => pulse.done.length > 0 && [
        sparkline(pulse), h("span", { class: "cv-muted" }, "last minute")]);
    },
  };
}
