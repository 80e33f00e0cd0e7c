// One job with all that is known of it.

import { makeAttempts } from "./attempts.js";
import { copyButton } from "./copy.js";
import { capital, h, icon, memo, setAttribute, shortId, stateOf, textBlock } from "./elements.js";
import { makeLife } from "./life.js";
import { makeRelatives } from "./relatives.js";
import { span } from "./time.js";
import { makeTree } from "./tree.js";

const LONGEST_ID = 40;
const ORDER = ["Payload", "Result", "Failure", "Options", "Log"];

/** @param {import("./panel.js").Page} page */
export function makeJob(page) {
  const node = h("section", {
    class: "cv-detail", "aria-label": "Job", "data-testid": "cv-detail", hidden: true,
  });
  const [head, facts, values] = ["head", "facts", "values"].map((name) =>
    h("div", { class: `cv-detail-${name}`, "data-testid": `cv-detail-${name}` }));
  const parts = [makeLife(page), makeRelatives(page), makeAttempts(page)];
  const [life, relatives, attempts] = parts.map((part) => part.nodes);
  node.append(head, facts, ...life, ...relatives, values, ...attempts);

  const drawHead = (job) => memo(head, [job.queue, job.id, job.name, job.state, job.can, job.gone, job.code], () => [
    h("span", { class: "cv-detail-title" }, icon(job.state), h("h4", {}, job.name),
      h("span", { class: "cv-id", title: job.id }, shortId(job.id, LONGEST_ID)),
      h("span", { class: "cv-status" }, job.gone ? "Removed" : stateOf(job.state)),
      job.queue === page.part("head").name ? null : h("span", { class: "cv-status" }, `in ${job.queue}`)),
    h("span", { class: "cv-detail-acts" },
      copyButton("Copy as code", () => job.code, { testid: "cv-copy-code", title: job.code }),
      ...job.can.map((what) => page.link.act(capital(what), { do: `${what}_job`, id: job.id, queue: job.queue },
        { testid: `cv-job-${what}`, confirm: what === "remove" ? "Remove for good?" : "" })).filter(Boolean)),
    h("button", {
      type: "button", class: "cv-button cv-quiet", "aria-label": "Close the job",
      "data-testid": "cv-detail-close", onclick: () => page.openJob(""),
    }, "×")]);

  const fact = ([label, value, kind]) => h("span", { class: "cv-fact" },
    h("span", { class: "cv-caption" }, label),
    kind === "at" ? page.clock.text(value, true) : kind === "span" ? span(value) : value);

  const treeBlock = ({ label, tree, copy, whole }) => h("div", { class: "cv-block" },
    h("h5", {}, label, copyButton("Copy", () => copy, {
      testid: `cv-copy-${label.toLowerCase()}`,
      title: whole ? "Copy it as JSON" : "Copy it as text, as far as it is shown",
    })),
    h("div", { class: "cv-job-tree", tabindex: "0", role: "group", "aria-label": label, "data-testid": `cv-text-${label.toLowerCase()}` },
      makeTree(tree)));

  const plainBlock = ([label, text]) => {
    const block = textBlock(label, text, `cv-text-${label.toLowerCase()}`);
    block.firstChild.append(copyButton("Copy", () => text, { testid: `cv-copy-${label.toLowerCase()}` }));
    return block;
  };

  return {
    nodes: [node],
    draw() {
      const job = page.part("detail");
      node.hidden = !job;
      if (!job) return;
      setAttribute(node, "aria-label", `Job ${job.id}`);
      drawHead(job);
      memo(facts, [job.facts, page.clock.zone()], () => [
        ...job.facts.map(fact), fact(["Times in", page.clock.zone(), ""])]);
      memo(values, [job.values, job.texts], () => [
        ...job.values.map((one) => ({ label: one.label, block: () => treeBlock(one) })),
        ...job.texts.map((one) => ({ label: one[0], block: () => plainBlock(one) })),
      ].sort((one, other) => ORDER.indexOf(one.label) - ORDER.indexOf(other.label)).map((one) => one.block()));
      for (const part of parts) part.draw(job);
      if (page.takeNewlyOpened() === job.id) node.scrollIntoView({ block: "nearest" });
    },
  };
}
