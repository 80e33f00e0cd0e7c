// The table of jobs, page by page.

import { LABELS, h, icon, memo, reconcile, setText } from "./elements.js";

const column = (name, kind) => h("span", { role: "columnheader", class: `cv-${kind}` }, name);
const grouped = (count) => count.toLocaleString("en");

/** @param {import("./panel.js").Page} page */
export function makeJobs(page) {
  const rows = h("div", { role: "rowgroup", class: "cv-rows", "data-testid": "cv-jobs" });
  const empty = h("p", { class: "cv-empty", "data-testid": "cv-empty" });
  const pageText = h("span", { class: "cv-page", "data-testid": "cv-page" });
  const bulk = h("span", { class: "cv-bulk" });
  const turn = (step, label, name) => h("button", {
    type: "button", class: "cv-button", "aria-label": name, "data-testid": `cv-${label}`,
    onclick: (event) => page.link.send(
      { do: "page", page: page.part("jobs").page + step }, { button: event.currentTarget }),
  }, step < 0 ? "‹" : "›");
  const [previous, next] = [turn(-1, "prev", "Previous page"), turn(1, "next", "Next page")];
  const table = h("section", { class: "cv-jobs", role: "table", "aria-label": "Jobs" },
    h("div", { role: "rowgroup" }, h("div", { role: "row", class: "cv-row cv-columns" },
      column("State", "state"), column("Job", "job"), column("Progress", "progress"),
      column("Tries", "tries"), column("When", "when"), column("Result", "result"))),
    rows);

  rows.addEventListener("click", (event) => {
    const row = event.target.closest(".cv-row");
    if (!row || (event.detail && String(document.getSelection()))) return; // selecting is no click
    const id = row.dataset.key;
    page.openJob(page.part("detail")?.id === id ? "" : id);
  });

  const makeRow = () => h("div", { role: "row", class: "cv-row", "data-testid": "cv-job" },
    h("span", { role: "cell", class: "cv-state" }),
    h("span", { role: "cell", class: "cv-job" },
      h("button", { type: "button", class: "cv-open" }), h("span", { class: "cv-id" })),
    h("span", { role: "cell", class: "cv-progress" }),
    h("span", { role: "cell", class: "cv-tries" }),
    h("span", { role: "cell", class: "cv-when" }, h("time", {})),
    h("span", { role: "cell", class: "cv-result" }));

  function drawRow(row, job) {
    const [state, name, progress, tries, when, result] = row.children;
    const isOpen = page.part("detail")?.id === job.id;
    row.dataset.state = job.state;
    row.classList.toggle("cv-selected", isOpen);
    memo(state, job.state, () => [icon(job.state), h("span", {}, LABELS[job.state])]);
    const [open, id] = name.children;
    setText(open, job.name);
    open.setAttribute("aria-expanded", String(isOpen));
    setText(id, job.short_id);
    name.title = `${job.name}  ${job.id}`;
    memo(progress, job.progress, (percent) => percent === null ? null : [
      h("span", { class: "cv-bar", "aria-hidden": "true" }, h("i", { style: `width:${percent}%` })),
      h("span", { class: "cv-num" }, `${Math.round(percent)}%`)]);
    setText(tries, job.tries);
    page.setAge(when.firstChild, job.at, job.at_word);
    setText(result, job.text);
    result.title = job.text;
  }

  return {
    nodes: [table, empty,
      h("div", { class: "cv-pager" }, bulk, h("span", { class: "cv-gap" }), pageText, previous, next)],
    draw() {
      const { rows: jobs, state, total, first, page: at, pages } = page.part("jobs");
      reconcile(rows, jobs, (job) => job.id, makeRow, drawRow);
      table.classList.toggle("cv-plain", jobs.every((job) => job.progress === null));
      empty.hidden = jobs.length > 0;
      setText(empty, state ? `No ${LABELS[state].toLowerCase()} jobs.`
        : "No jobs yet. Add one with  await queue.add(\"name\", {...})");
      setText(pageText,
        total ? `${grouped(first + 1)}–${grouped(first + jobs.length)} of ${grouped(total)}` : "");
      previous.disabled = page.link.isDead() || at === 0;
      next.disabled = page.link.isDead() || at >= pages - 1;
      memo(bulk, total ? state : "", (shown) => [
        shown === "failed" && page.link.act("Retry all failed", { do: "retry_failed" }),
        shown === "delayed" && page.link.act("Run all now", { do: "promote_delayed" })]);
    },
  };
}
