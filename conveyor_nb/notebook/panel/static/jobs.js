// The table of jobs, page by page.

import { LABELS, advise, h, icon, memo, reconcile, setText, setTitle } from "./elements.js";
import { makeChosen, makeQuestion } from "./chosen.js";
import { makeFilters } from "./filters.js";
import { makeForm } from "./form.js";
import { makeManage } from "./manage.js";
import { makePager } from "./pager.js";
import { drawTags } from "./tags.js";

const column = (name, kind, inner = name) =>
  h("span", { role: "columnheader", class: `cv-${kind}` }, inner);

/** @param {import("./panel.js").Page} page */
export function makeJobs(page) {
  const rows = h("div", { role: "rowgroup", class: "cv-rows", "data-testid": "cv-jobs" });
  const empty = h("p", { class: "cv-empty", "data-testid": "cv-empty" });
  const sheet = h("div", { class: "cv-sheet" }, rows, empty);
  const bulk = h("span", { class: "cv-bulk" });
  const filters = makeFilters(page);
  const pager = makePager(page);
  const chosen = makeChosen(page);
  const manage = makeManage(page);
  const question = makeQuestion(page, () => chosen.clear());
  const form = makeForm(page);
  const tools = h("div", { class: "cv-tools" }, ...filters.nodes, h("span", { class: "cv-gap" }),
    form.told, form.add, manage.toggle);

  // a click sorts by it, another one turns the order round, a third goes back to what happens
  const sorted = Object.entries({ name: "Job", tries: "Tries", when: "When" }).map(([by, label]) => {
    const button = h("button", {
      type: "button", class: "cv-sort", "data-testid": `cv-sort-${by}`,
      onclick: () => {
        const { sort } = page.part("jobs");
        page.link.send({ do: "sort", sort: { [by]: `-${by}`, [`-${by}`]: "" }[sort] ?? by }, { button });
      },
    }, label);
    return { by, label, button, head: column(label, { name: "job" }[by] ?? by, button) };
  });
  const [job, tries, when] = sorted.map((one) => one.head);
  const table = h("div", { class: "cv-jobs", role: "table", "aria-label": "Jobs" },
    h("div", { role: "rowgroup" }, h("div", { role: "row", class: "cv-row cv-columns" },
      column("State", "state", h("span", { class: "cv-state" }, chosen.onPage, "State")), job, column("Progress", "progress"),
      tries, when, column("Result", "result"))),
    sheet);
  let highest = 0;

  rows.addEventListener("click", (event) => {
    const row = event.target.closest(".cv-row");
    if (!row || event.target.closest("input") || (event.detail && String(document.getSelection()))) return; // selecting is no click
    const id = row.dataset.key;
    page.openJob(page.part("detail")?.id === id ? "" : id);
  });

  const makeRow = () => h("div", { role: "row", class: "cv-row", "data-testid": "cv-job" },
    h("span", { role: "cell", class: "cv-state" }, chosen.box(), h("span", { class: "cv-state" })),
    h("span", { role: "cell", class: "cv-job" },
      h("button", { type: "button", class: "cv-open", "data-testid": "cv-job-open" }), h("span", { class: "cv-id" }), h("span", { class: "cv-tags" })),
    h("span", { role: "cell", class: "cv-progress" }),
    h("span", { role: "cell", class: "cv-tries" }),
    h("span", { role: "cell", class: "cv-when" }, h("time", {})),
    h("span", { role: "cell", class: "cv-result" }));

  function drawRow(row, job) {
    const [state, name, progress, tries, when, result] = row.children;
    const isOpen = page.part("detail")?.id === job.id;
    row.dataset.state = job.state;
    row.classList.toggle("cv-selected", isOpen);
    chosen.drawBox(state.firstChild, job);
    memo(state.lastChild, job.state, () => [icon(job.state), h("span", {}, LABELS[job.state])]);
    const [open, id, tags] = name.children;
    setText(open, job.name);
    open.setAttribute("aria-expanded", String(isOpen));
    setText(id, job.short_id);
    drawTags(tags, job.tags);
    setTitle(name, `${job.name}  ${job.id}`);
    memo(progress, job.progress, (percent) => percent === null ? null : [
      h("span", { class: "cv-bar", "aria-hidden": "true" }, h("i", { style: `width:${percent}%` })),
      h("span", { class: "cv-num" }, `${Math.round(percent)}%`)]);
    setText(tries, job.tries);
    page.setAge(when.firstChild, job.at, job.at_word);
    setText(result, job.text);
    setTitle(result, job.text);
  }

  function drawColumns(sort) {
    for (const { by, label, button, head } of sorted) {
      const way = { [by]: "ascending", [`-${by}`]: "descending" }[sort];
      if (way) head.setAttribute("aria-sort", way);
      else head.removeAttribute("aria-sort");
      setText(button, way ? `${label} ${way === "ascending" ? "↑" : "↓"}` : label);
    }
  }

  return {
    nodes: [tools, question.node, filters.row, manage.node, form.node, table,
      h("div", { class: "cv-pager", "data-testid": "cv-pager" }, chosen.bar, bulk, h("span", { class: "cv-gap" }), ...pager.nodes)],
    draw() {
      const { rows: jobs, state, total, sort, filter, question: asked } = page.part("jobs");
      chosen.draw();
      reconcile(rows, jobs, (job) => job.id, makeRow, drawRow);
      table.classList.toggle("cv-plain", jobs.every((job) => job.progress === null));
      highest = Math.max(highest, jobs.length);
      sheet.style.setProperty("--cv-rows", String(highest)); // it never shrinks: nothing jumps
      rows.hidden = !jobs.length;
      empty.hidden = jobs.length > 0;
      const isSearch = Object.values(filter).some(Boolean);
      if (isSearch) advise(empty, "No job fits what is looked for.");
      else if (state) advise(empty, `No ${LABELS[state].toLowerCase()} jobs.`);
      else advise(empty, "No jobs yet. Add one with", 'await queue.add("send", {"to": "ada"})');
      drawColumns(sort);
      filters.draw();
      pager.draw();
      manage.draw();
      form.draw();
      tools.hidden = asked !== null && !page.part("ended"); // no question can be answered any more
      question.draw();
      bulk.hidden = chosen.any();
      memo(bulk, total ? state : "", (shown) => [
        shown === "failed" && page.link.act("Retry all failed", { do: "ask", act: "retry_failed" }, { testid: "cv-retry_failed" }),
        shown === "delayed" && page.link.act("Run all now", { do: "ask", act: "promote_delayed" }, { testid: "cv-promote_delayed" })]);
    },
  };
}
