// What is looked for in the table: a text anywhere, and what a job is of.

import { capital, h, memo, setText } from "./elements.js";
import { makeRange } from "./range.js";
import { fit } from "./text.js";

const PAUSE_MS = 200; // a search begins when so long no key was pressed
const OF = ["name", "group", "flow", "schedule"];
const HINTS = {
  name: "the whole job name", group: "the group's id", flow: "the parent's id: it and its children",
  schedule: "the schedule's id",
};

/** @param {import("./panel.js").Page} page */
export function makeFilters(page) {
  const own = Math.random().toString(36).slice(2);
  let waiting = 0;

  const field = (what, props) => h("input", {
    type: "search", class: "cv-input", autocomplete: "off", spellcheck: "false", maxlength: "255",
    "data-testid": `cv-filter-${what}`, ...props,
    oninput: () => { clearTimeout(waiting); waiting = setTimeout(apply, PAUSE_MS); },
  });
  const search = field("text", {
    placeholder: "Search id, name, payload", "aria-label": "Search jobs by id, name or payload" });
  const lists = Object.fromEntries(OF.map((what) => [what, h("datalist", { id: `${own}-${what}` })]));
  const inputs = Object.fromEntries(OF.map((what) => [what,
    field(what, { list: `${own}-${what}`, title: HINTS[what], placeholder: "any" })]));
  const fields = { text: search, ...inputs };
  const range = makeRange(page, () => apply(), (props) => field("", props));
  const more = h("button", {
    type: "button", class: "cv-button", "data-testid": "cv-filters", "aria-expanded": "false",
    onclick: () => { row.hidden = !row.hidden; more.setAttribute("aria-expanded", String(!row.hidden)); },
  }, "Filters");
  const clear = h("button", {
    type: "button", class: "cv-button cv-quiet-text", "data-testid": "cv-filter-clear",
    onclick: () => { for (const input of Object.values(fields)) input.value = ""; range.clear(); apply(); },
  }, "Clear");
  const row = h("div", { class: "cv-filter-row", hidden: true }, ...OF.map((what) =>
    h("label", { class: "cv-filter" }, h("span", { class: "cv-caption" }, capital(what)),
      inputs[what], lists[what])),
  ...range.nodes);

  function apply() {
    clearTimeout(waiting);
    waiting = 0;
    if (!range.isRight()) return; // what was looked for before stays until it is mended
    const wanted = Object.fromEntries(Object.entries(fields).map(([what, input]) => [what, input.value]));
    page.link.send({ do: "filter", ...range.typed(), ...wanted });
  }

  return {
    nodes: [search, more, clear],
    row,
    draw() {
      const { filter, known } = page.part("jobs");
      for (const [what, input] of Object.entries(fields)) {
        const isTyping = waiting || input === document.activeElement;
        if (!isTyping && input.value !== filter[what]) input.value = filter[what];
      }
      if (!waiting && !row.contains(document.activeElement)) range.draw(filter);
      for (const what of OF) memo(lists[what], known[what], (all) => all
        .filter((value) => fit(value) === value).map((value) => h("option", { value })));
      const isTimed = filter.added || filter.since !== null || filter.until !== null;
      const set = OF.filter((what) => filter[what]).length + Number(Boolean(isTimed));
      setText(more, set ? `Filters (${set})` : "Filters");
      clear.hidden = !set && !filter.text;
    },
  };
}
