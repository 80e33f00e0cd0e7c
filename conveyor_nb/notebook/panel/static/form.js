// The form by which a job is added, or one that has not run yet is changed.

import { h, setText } from "./elements.js";

const FIELDS = {
  delay: ["Delay", "10m"], priority: ["Priority", "0, lower is first"], attempts: ["Attempts", "1"],
  backoff: ["Backoff", "exponential:2s"], timeout: ["Timeout", "30s"], group: ["Group", "none"],
  job_id: ["Job id", "made for it"], deduplication: ["Deduplication key", "none"],
};
const EDITED = new Set(["delay", "priority"]);

/** What is wrong with a text as JSON, in a few words; empty: it is JSON, or nothing at all. */
export function faultOfJson(text) {
  if (!text.trim()) return "";
  try {
    JSON.parse(text);
    return "";
  } catch (error) {
    const { message } = /** @type {SyntaxError} */ (error);
    return `Not JSON yet: ${message.replace(/ in JSON(?= at)/, "").replace(/^JSON\.parse: /, "")}`;
  }
}

/** @param {import("./panel.js").Page} page */
export function makeForm(page) {
  let editing = null; // the job that is changed; null: one is added
  let isOpen = false;
  let closed = null; // a job that the kernel does not know yet to be closed
  let isSent = false;
  let seen = -1;

  /** @param {string} key @param {string[]} told */
  const field = (key, [label, placeholder]) => {
    const input = h("input", { class: "cv-input", placeholder, maxlength: "255", autocomplete: "off",
      spellcheck: "false", "data-testid": `cv-form-${key}` });
    return { input, label: h("label", { class: "cv-filter" }, h("span", { class: "cv-caption" }, label), input) };
  };
  const name = field("name", ["Name", "send"]);
  const options = Object.fromEntries(Object.entries(FIELDS).map(([key, told]) => [key, field(key, told)]));
  const lifo = h("input", { type: "checkbox", class: "cv-check", "data-testid": "cv-form-lifo" });
  const lifoLabel = h("label", { class: "cv-form-lifo" }, lifo, "Newest first (LIFO)");
  const data = h("textarea", { class: "cv-input cv-payload", rows: "4", spellcheck: "false",
    placeholder: '{"to": "ada@example.org"}', "aria-label": "Payload as JSON", maxlength: "100000",
    "data-testid": "cv-form-data", oninput: () => { isSent = false; check(); } });
  const said = h("p", { class: "cv-form-said", role: "status", "data-testid": "cv-form-said" });
  const save = h("button", { type: "submit", class: "cv-button cv-primary", "data-testid": "cv-form-save" });
  const title = h("b", {});
  const node = h("form", {
    class: "cv-form", hidden: true, "aria-label": "Job", "data-testid": "cv-form", "data-acts": "",
    onsubmit: (event) => { event.preventDefault(); submit(); },
    onkeydown: (event) => event.key === "Escape" && close(),
  }, h("div", { class: "cv-form-main" }, name.label,
    h("label", { class: "cv-filter" }, h("span", { class: "cv-caption" }, "Payload (JSON)"), data)),
  h("div", { class: "cv-form-options" }, ...Object.values(options).map((one) => one.label), lifoLabel),
  h("div", { class: "cv-form-foot" }, title, said, h("span", { class: "cv-gap" }),
    h("button", { type: "button", class: "cv-button", "data-testid": "cv-form-close", onclick: () => close() }, "Close"),
    save));
  const told = h("span", { class: "cv-muted cv-form-told", role: "status", "data-testid": "cv-form-told" });
  const add = h("button", {
    type: "button", class: "cv-button", "data-testid": "cv-add", "data-acts": "", onclick: () => (isOpen ? close() : open(null)),
  }, "Add job");

  function check(wrong = "") {
    const fault = faultOfJson(data.value);
    setText(said, fault || wrong);
    said.classList.toggle("cv-error", Boolean(fault || wrong));
    data.setAttribute("aria-invalid", String(Boolean(fault)));
    save.disabled = Boolean(fault);
  }

  function open(job) {
    [editing, isOpen, node.hidden] = [job, true, false];
    setText(title, job ? `Change ${job.name}` : "");
    setText(save, job ? "Change job" : "Add job");
    for (const [key, { input, label }] of Object.entries(options)) {
      label.hidden = job !== null && (!EDITED.has(key) || (key === "delay" && !job.delayed));
      if (job) input.value = "";
    }
    if (job) options.priority.input.value = job.priority;
    name.label.hidden = lifoLabel.hidden = job !== null;
    data.disabled = job !== null && job.data === null;
    if (job) data.value = job.data ?? "It is more than JSON can say: only the fields beside it can be changed.";
    if (data.disabled) save.disabled = false;
    else check();
    (job ? data : name.input).focus();
  }

  function close(isDone = false) {
    if (editing) {
      closed = editing.id;
      if (!isDone) page.link.send({ do: "edit", id: "" });
      data.value = options.priority.input.value = options.delay.input.value = "";
      data.disabled = false;
    }
    [editing, isOpen, isSent, node.hidden] = [null, false, false, true];
    if (node.contains(document.activeElement)) add.focus();
  }

  function submit() {
    const set = Object.entries(options).map(([key, { input }]) => [key, input.value.trim()]);
    if (lifo.checked && !editing) set.push(["lifo", "yes"]);
    const filled = Object.fromEntries(set.filter(([, text]) => text));
    isSent = true;
    if (!editing) {
      page.link.send({ do: "add", name: name.input.value, data: data.value, options: filled }, { button: save });
      return;
    }
    if (filled.priority === editing.priority) delete filled.priority;
    const changed = editing.data !== null && data.value !== editing.data;
    page.link.send({ do: "change", id: editing.id, options: filled, ...(changed && { data: data.value }) },
      { button: save });
  }

  return {
    add, told, node,
    draw() {
      const { form } = page.part("jobs");
      add.hidden = page.part("head").read_only;
      if (!form.editing) closed = null;
      else if (![editing?.id, closed].includes(form.editing.id)) open(form.editing);
      if (isSent && form.saved !== seen) {
        setText(told, form.told);
        close(true);
      } else if (isSent && form.wrong && !faultOfJson(data.value)) check(form.wrong);
      seen = form.saved;
    },
  };
}
