// The life of a job as a line in time: a bar of what took how long, and each moment below it.

import { h, icon, memo } from "./elements.js";
import { span } from "./time.js";

const WORDS = { waiting: "waited", delayed: "waits for its time", active: "running", "put back": "attempt that was put back" };
const SHAPE_OF = {
  added: "waiting", due: "delayed", cancelled: "stopped", gap: "waiting", "put back": "put-back",
};
const ENDS = new Set(["completed", "failed", "put back"]);

/**
 * What lies between the moments: how long it was so, and how it is called.
 * @param {{at: number, kind: string}[]} life
 * @param {string} state of the job now
 * @param {number} now
 * @returns {{kind: string, from: number, to: number}[]}
 */
export function stretches(life, state, now) {
  const parts = [];
  life.forEach((moment, place) => {
    const next = life[place + 1];
    const ended = next ? next.kind : null;
    if (!next && (state === "completed" || state === "failed")) return;
    let kind = "waiting";
    if (moment.kind === "active") kind = ENDS.has(ended ?? "") ? String(ended) : "active";
    else if (ended === "due") kind = "delayed";
    const to = Math.max(next ? next.at : now, moment.at);
    if (next || to > moment.at) parts.push({ kind, from: moment.at, to });
  });
  return parts;
}

/** @param {import("./panel.js").Page} page */
export function makeLife(page) {
  const bar = h("div", { class: "cv-life-bar", "aria-hidden": "true", "data-testid": "cv-life-bar" });
  const moments = h("ol", { class: "cv-life", tabindex: "0", "aria-label": "Its life, from the beginning", "data-testid": "cv-life" });

  const drawBar = ({ life, state }) => stretches(life, state, page.clock.now()).map(({ kind, from, to }) =>
    h("i", {
      class: `cv-stretch cv-stretch-${kind.replace(" ", "-")}`, style: `flex-grow:${Math.max(to - from, 1e-6)}`,
      title: `${span(to - from)} ${WORDS[kind] ?? `attempt that ${kind}`}`,
    }));

  const drawMoment = ({ at, kind, text }, place, all) => h("li", {},
    icon(SHAPE_OF[kind] ?? kind),
    h("span", { class: "cv-num cv-muted", title: page.clock.full(at) }, page.clock.text(at)),
    h("span", { class: "cv-num cv-after" }, place ? `+${span(at - all[place - 1].at)}` : ""),
    h("span", { class: "cv-job-said" }, text));

  return {
    nodes: [bar, moments],
    draw(job) {
      memo(bar, [job.life, job.state], () => drawBar(job));
      const before = moments.childElementCount;
      memo(moments, [job.queue, job.id, job.life], () => job.life.map(drawMoment));
      if (moments.childElementCount !== before) moments.scrollTop = moments.scrollHeight; // the newest
    },
  };
}
