// The jobs that are chosen in the table, and what can be done with them.

import { capital, h, memo, setAttribute, setText } from "./elements.js";

const MOST = 1_000; // by their ids; more can be chosen as all that fit
const DEEDS = ["retry", "promote", "cancel", "remove"];

/** @param {import("./panel.js").Page} page */
export function makeChosen(page) {
  /** @type {Set<string>} */
  const ids = new Set();
  let all = false;
  let shownFor = "";
  let saved = null; // the file that came last

  const onPage = h("input", {
    type: "checkbox", class: "cv-check", "aria-label": "Choose all jobs of this page",
    "data-testid": "cv-choose-page",
    onchange: () => choose(page.part("jobs").rows.map((job) => job.id), onPage.checked),
  });
  const bar = h("div", { class: "cv-chosen", role: "group", "aria-label": "Chosen jobs", hidden: true,
    "data-testid": "cv-chosen" });

  function choose(some, isOn) {
    all = false;
    for (const id of some) {
      if (!isOn) ids.delete(id);
      else if (ids.size < MOST) ids.add(id);
    }
    page.redraw();
  }

  function clear() {
    ids.clear();
    all = false;
    page.redraw();
  }

  const what = () => (all ? { all } : { ids: [...ids] });

  function drawBar({ total }) {
    const number = all ? total : ids.size;
    bar.hidden = !number;
    const more = !all && total > ids.size;
    memo(bar, [all, number, more, total], () => [
      h("span", { class: "cv-chosen-count", role: "status" }, `${number.toLocaleString("en")} chosen`),
      more && h("button", {
        type: "button", class: "cv-button", "data-testid": "cv-choose-all",
        onclick: () => { all = true; page.redraw(); },
      }, `All ${total.toLocaleString("en")}`),
      ...DEEDS.map((act) => page.link.act(capital(act), () => ({ do: "ask", act, ...what() }),
        { testid: `cv-many-${act}` })),
      ...["json", "csv"].map((act) => page.link.button(act.toUpperCase(), () => ({ do: "export", act, ...what() }),
        { testid: `cv-export-${act}`, title: `Save the chosen jobs as ${act.toUpperCase()}`,
          aria: `Export as ${act.toUpperCase()}` })),
      number === 1 && !all && page.link.act("Edit", () => ({ do: "edit", id: [...ids][0] }),
        { testid: "cv-edit" }),
      h("button", {
        type: "button", class: "cv-button cv-quiet", "aria-label": "Choose none",
        "data-testid": "cv-choose-none", onclick: clear,
      }, "×")]);
  }

  /** Let the browser save a file that was made for this page. */
  function save(file) {
    if (!file || file.view !== page.link.view || file === saved) return;
    saved = file;
    const url = URL.createObjectURL(new Blob([file.text], { type: "text/plain;charset=utf-8" }));
    h("a", { href: url, download: file.name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }

  return {
    onPage, bar, what, clear,
    has: (id) => all || ids.has(id),
    any: () => all || ids.size > 0,
    /** The box of a row. */
    box: () => h("input", {
      type: "checkbox", class: "cv-check", "data-testid": "cv-choose",
      onchange: (event) => {
        const box = event.currentTarget;
        if (all) for (const job of page.part("jobs").rows) ids.add(job.id);
        choose([box.closest(".cv-row").dataset.key], box.checked);
      },
    }),
    drawBox(box, job) {
      box.checked = all || ids.has(job.id);
      setAttribute(box, "aria-label", `Choose ${job.name} ${job.id}`);
    },
    draw() {
      const jobs = page.part("jobs");
      const looksFor = JSON.stringify([page.part("head").name, jobs.state, jobs.filter]);
      if (looksFor !== shownFor) { // what is out of sight is not acted on unawares
        ids.clear();
        all = false;
      }
      shownFor = looksFor;
      const on = jobs.rows.filter((job) => all || ids.has(job.id)).length;
      onPage.checked = on > 0 && on === jobs.rows.length;
      onPage.indeterminate = on > 0 && on < jobs.rows.length;
      drawBar(jobs);
      save(jobs.file);
    },
  };
}

/** A question in the place of the tools: what is to be done, to how many jobs. @param {import("./panel.js").Page} page */
export function makeQuestion(page, clearChosen) {
  const text = h("span", { class: "cv-question-text" });
  const buttons = h("span", { class: "cv-question-buttons" });
  const node = h("div", {
    class: "cv-tools cv-question", role: "alertdialog", "aria-label": "Question", hidden: true,
    "data-testid": "cv-question", "data-acts": "",
    onkeydown: (event) => event.key === "Escape" && page.link.send({ do: "keep" }),
  }, text, h("span", { class: "cv-gap" }), buttons);

  return {
    node,
    draw() {
      const { question } = page.part("jobs");
      const wasHidden = node.hidden;
      node.hidden = !question;
      if (!question) return;
      setText(text, question.text);
      memo(buttons, question, () => [
        page.link.act("Keep as it is", { do: "keep" }, { testid: "cv-keep" }),
        page.link.act(question.yes, () => {
          clearChosen();
          return { do: "answer", question: question.n };
        }, { kind: question.final ? "cv-danger" : "cv-primary", testid: "cv-answer" })]);
      if (wasHidden) /** @type {HTMLElement | null} */ (buttons.firstElementChild)?.focus();
    },
  };
}
