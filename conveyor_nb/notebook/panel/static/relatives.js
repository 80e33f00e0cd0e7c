// The parent and the children of a job; a click opens one.

import { build } from "./belt.js";
import { h, icon, memo, shortId } from "./elements.js";

/** @param {import("./panel.js").Page} page */
export function makeRelatives(page) {
  const node = h("div", { class: "cv-relatives", "data-testid": "cv-relatives" });

  const one = (job, own) => h("button", {
    type: "button", class: "cv-button cv-relative", title: `${job.name}  ${job.id} in ${job.queue}`,
    "data-testid": `cv-${job.kind}`, disabled: !job.state || page.link.isDead(),
    onclick: () => page.openJob(job.id, job.queue),
  }, job.state ? icon(job.state) : null, h("span", { class: "cv-job-said" }, job.name),
    h("span", { class: "cv-id" }, shortId(job.id, 24)),
    job.queue === own ? null : h("span", { class: "cv-muted" }, `in ${job.queue}`));

  return {
    nodes: [node],
    draw(job) {
      const { jobs, children, ring } = job.relatives;
      node.hidden = !jobs.length && !children;
      memo(node, [job.queue, job.relatives], () => {
        const [up, down] = ["parent", "child"].map((kind) => jobs.filter((each) => each.kind === kind));
        const more = children - down.length;
        return [
          up.length && h("div", { class: "cv-kin" }, h("h5", {}, "Parent"), ...up.map((each) => one(each, job.queue))),
          children && h("div", { class: "cv-kin" },
            h("h5", {}, ring && build(ring), children === 1 ? "Child" : `${children.toLocaleString("en")} children`),
            ...down.map((each) => one(each, job.queue)),
            more > 0 ? h("span", { class: "cv-muted" }, `… ${more.toLocaleString("en")} more`) : null),
        ];
      });
    },
  };
}
