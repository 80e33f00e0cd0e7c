// The workers of a queue: what they do, their slots, and buttons to manage them.

import { advise, capital, h, icon, memo, reconcile } from "./elements.js";

const MOST_LAMPS = 16;
const HELD = "by handlers that did not stop when they were told to";

/** @param {import("./panel.js").Page} page */
export function makeWorkers(page) {
  const node = h("div", { role: "list", "aria-label": "Workers" });
  const empty = h("p", { class: "cv-empty" });
  advise(empty, "No worker serves this queue yet. Write one:", "@queue.worker(concurrency=2)");

  const makeRow = () => h("div", { class: "cv-worker", role: "listitem", "data-testid": "cv-worker" },
    h("span", { class: "cv-who" }), h("span", { class: "cv-slots" }), h("span", { class: "cv-acts" }));

  function drawRow(row, worker) {
    if (worker.more) {
      memo(row.firstChild, worker.more, (more) => h("span", { class: "cv-muted" },
        `and ${more.toLocaleString("en")} more: the tab Workers shows them`));
      return;
    }
    const { key, name, version, status, told, busy, held, concurrency, can } = worker;
    const [who, slots, acts] = row.children;
    row.dataset.status = status;
    memo(who, [name, version, status, told], () => [
      icon(status === "stopping" ? "paused" : status),
      h("span", { class: "cv-name", title: name }, name),
      version && h("span", { class: "cv-muted", "data-testid": "cv-worker-version" }, `version ${version}`),
      h("span", { class: "cv-status" }, status),
      told && h("span", { class: "cv-told", "data-testid": "cv-worker-told" }, told)]);
    memo(slots, [busy, held, concurrency], () => [
      busy !== null && concurrency <= MOST_LAMPS && h("span", { class: "cv-meter", "aria-hidden": "true" },
        ...Array.from({ length: concurrency }, (_, i) => h("i", { class: i < busy ? "cv-on" : "" }))),
      h("span", { class: "cv-num" }, busy === null ? `${concurrency} slots` : `${busy} / ${concurrency} busy`),
      held > 0 && h("span", { class: "cv-num", "data-testid": "cv-worker-held", title: HELD }, `${held} held`)]);
    memo(acts, can, () => can.map((what) => page.link.act(capital(what),
      { do: `${what}_worker`, worker: key },
      { testid: `cv-worker-${what}`, aria: `${what} worker ${name}` })));
  }

  return {
    nodes: [h("div", { class: "cv-workers" }, node, empty)],
    draw() {
      const list = page.part("workers");
      empty.hidden = list.length > 0;
      node.hidden = !list.length;
      reconcile(node, list, (worker) => worker.key, makeRow, drawRow);
    },
  };
}
