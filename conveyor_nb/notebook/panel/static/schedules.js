// The schedules of a queue: their rules in words, their next runs, and what can be done with them.

import { advise, h, icon, memo, reconcile, setText } from "./elements.js";

const DRAFT_AFTER_MS = 200; // what is typed is read once the typing pauses

/** @param {import("./panel.js").Page} page */
export function makeSchedules(page) {
  const list = h("div", { class: "cv-schedules", role: "list", "aria-label": "Schedules", "data-testid": "cv-schedules" });
  const empty = h("p", { class: "cv-empty", "data-testid": "cv-no-schedules" });
  let editing = ""; // the id of the schedule whose rule is being typed
  let savedBefore = 0;

  const makeRow = ({ id }) => h("div", { class: "cv-schedule", role: "listitem", "data-testid": "cv-schedule" },
    h("div", { class: "cv-schedule-head" }, h("span", { class: "cv-who" }), h("span", { class: "cv-acts" })),
    h("p", { class: "cv-schedule-rule", "data-testid": "cv-schedule-rule" }),
    h("div", { class: "cv-schedule-form" }),
    h("ol", { class: "cv-run-times", "aria-label": `Next runs of ${id}`, "data-testid": "cv-run-times" }));

  /** One run that is to come: when, and in how long. */
  const run = (at, job, running) => {
    const when = [h("span", {}, page.clock.day(at)), h("time", { class: "cv-muted" })];
    page.setAge(when[1], at, "planned for");
    if (running) when[1] = h("span", { class: "cv-status" }, "runs now");
    return h("li", { class: "cv-run-time" }, job ? h("button", {
      type: "button", class: "cv-open", title: `Open ${job}`, "data-testid": "cv-run-open",
      onclick: () => page.openJob(job),
    }, ...when) : h("span", { class: "cv-open" }, ...when));
  };

  function edit(id) {
    editing = id;
    savedBefore = page.part("schedules").saved;
    page.keepFocus(draw);
    if (!id) page.link.send({ do: "draft_schedule" });
  }

  function makeForm({ id, rule, tz, words }) {
    const field = (label, value, hint, testid) => {
      const input = h("input", { class: "cv-rule-input", maxlength: "255", placeholder: hint, spellcheck: "false",
        autocomplete: "off", "data-testid": testid });
      input.value = value;
      return [input, h("label", { class: "cv-rule-field" }, h("span", { class: "cv-caption" }, label), input)];
    };
    const [rules, ruleField] = field("Rule", rule, "10m, or 0 9 * * 1-5", "cv-rule");
    const [zones, zoneField] = field("Time zone", tz, "UTC", "cv-run-zone");
    const typed = () => ({ schedule: id, rule: rules.value, tz: zones.value });
    const save = page.link.act("Save", () => ({ do: "edit_schedule", ...typed() }),
      { kind: "cv-primary", testid: "cv-schedule-save" });
    const cancel = h("button", { type: "button", class: "cv-button", "data-testid": "cv-schedule-cancel",
      onclick: () => edit("") }, "Cancel");
    let timer = 0;
    const form = h("form", {
      class: "cv-rule-form", "aria-label": `Rule of ${id}`,
      oninput: () => {
        clearTimeout(timer);
        timer = window.setTimeout(() => page.link.send({ do: "draft_schedule", ...typed() }), DRAFT_AFTER_MS);
      },
      onsubmit: (event) => event.preventDefault(),
      onkeydown: (event) => {
        if (event.key === "Escape") edit("");
        if (event.key === "Enter" && event.target instanceof HTMLInputElement) save?.click();
      },
    }, ruleField, zoneField, save, cancel,
    h("p", { class: "cv-rule-preview", role: "status", "data-testid": "cv-rule-preview" }, words));
    queueMicrotask(() => rules.select());
    return form;
  }

  /** What the typed rule would mean. */
  function drawPreview(form, draft, row) {
    const [preview] = form.getElementsByClassName("cv-rule-preview");
    if (!preview) return;
    const known = draft?.schedule === row.id;
    const isSaved = known && draft.rule === row.rule && draft.tz === row.tz;
    preview.classList.toggle("cv-rule-error", Boolean(known && draft.error));
    setText(preview, !known || isSaved ? row.words : draft.error
      || `${draft.words}; next ${page.clock.day(draft.runs[0])}`);
  }

  function drawRow(node, row) {
    const { id, name, words, rule, tz, paused, planned, limit, last, job, running, runs } = row;
    const [head, told, form, times] = node.children;
    const isOpen = editing === id;
    const isOver = !paused && !runs.length;
    node.classList.toggle("cv-is-off", !runs.length);
    memo(head.firstChild, [id, name, paused, isOver], () => [
      icon(paused ? "paused" : isOver ? "completed" : "delayed"),
      h("span", { class: "cv-name", title: name }, name),
      h("span", { class: "cv-id", title: id }, row.short_id),
      (paused || isOver) && h("span", { class: `cv-badge ${paused ? "cv-warn" : ""}` }, paused ? "Paused" : "No run to come")]);
    const act = (label, verb, options = {}) => page.link.act(label, { do: `${verb}_schedule`, schedule: id },
      { testid: `cv-schedule-${verb}`, aria: `${label} ${name}`, ...options });
    memo(head.lastChild, [name, paused, isOver, isOpen], () => [
      act("Run now", "run", { title: "Adds one more job; the planned runs stay" }),
      paused ? act("Resume", "resume") : isOver ? null : act("Pause", "pause"),
      page.link.act("Edit", () => { edit(isOpen ? "" : id); return null; },
        { testid: "cv-schedule-edit", aria: `Edit the rule of ${name}` }),
      act("Remove", "remove", { confirm: "Remove for good?" })]);
    memo(told, [words, rule, tz, planned, limit], () => [
      h("b", {}, words), h("code", {}, rule),
      h("span", { class: "cv-muted" }, limit === null ? `${planned} planned so far` : `${planned} of ${limit} runs planned`)]);
    memo(form, isOpen, (open) => open && makeForm(row));
    drawPreview(form, page.part("schedules").draft, row);
    memo(times, [runs, job, running, paused, last, page.clock.stands() && page.clock.now()], () => runs.length
      ? [...runs.map((at, place) => run(at, place ? null : job, running && !place)),
        h("li", { class: "cv-muted cv-run-zone" }, page.clock.zone())]
      : [h("li", { class: "cv-muted" }, last === null ? "It never ran." : `Its last run was planned for ${page.clock.day(last)}.`)]);
  }

  function draw() {
    const { rows, more, saved } = page.part("schedules");
    if (editing && saved > savedBefore) editing = ""; // what was typed has been taken
    reconcile(list, rows, (row) => row.id, makeRow, drawRow);
    list.hidden = !rows.length;
    empty.hidden = rows.length > 0 && !more;
    if (more) advise(empty, `and ${more.toLocaleString("en")} more schedules`);
    else advise(empty, "No schedules yet. Make one with", 'await queue.cron("0 9 * * 1-5", "report", tz="Europe/Paris")');
  }

  return { nodes: [list, empty], draw };
}
