// What is done with a queue as a whole: each asks first, and says how many jobs it hits.

import { LABELS, h, memo } from "./elements.js";

const AGES = { "": "any age", "1m": "1 minute or older", "1h": "1 hour or older", "1d": "1 day or older" };

/** @param {import("./panel.js").Page} page */
export function makeManage(page) {
  const name = h("input", {
    type: "search", class: "cv-input", placeholder: "a job name", "aria-label": "Job name to pause",
    maxlength: "255", autocomplete: "off", spellcheck: "false", "data-testid": "cv-pause-name-of",
  });
  const options = (all) => Object.entries(all).map(([value, label]) => h("option", { value }, label));
  const { "": _, active: __, ...states } = LABELS;
  const state = h("select", { class: "cv-select", "aria-label": "State to clean", "data-testid": "cv-clean-state" },
    ...options(states));
  state.value = "completed";
  const age = h("select", { class: "cv-select", "aria-label": "Age to clean", "data-testid": "cv-clean-age" },
    ...options(AGES));
  const paused = h("span", { class: "cv-paused-names" });
  const node = h("div", { class: "cv-manage", hidden: true, "data-testid": "cv-manage-row", "data-acts": "" });
  const toggle = h("button", {
    type: "button", class: "cv-button", "data-testid": "cv-manage", "data-acts": "", "aria-expanded": "false",
    onclick: () => { node.hidden = !node.hidden; toggle.setAttribute("aria-expanded", String(!node.hidden)); },
  }, "Manage");

  const line = (label, ...parts) => h("div", { class: "cv-manage-line" },
    h("span", { class: "cv-caption" }, label), ...parts);

  function fill() {
    const asks = (label, message, testid) => page.link.act(label, message, { testid, kind: "cv-final" });
    node.replaceChildren(
      line("Pause one name", name,
        page.link.act("Pause", () => name.value ? { do: "pause_name", name: name.value } : null,
          { testid: "cv-pause-name" }), paused),
      line("Clean", state, age,
        asks("Clean…", () => ({ do: "ask", act: "clean", state: state.value, grace: age.value }), "cv-clean")),
      line("All that wait", asks("Drain…", { do: "ask", act: "drain" }, "cv-drain")),
      line("The whole queue", asks("Obliterate…", { do: "ask", act: "obliterate" }, "cv-obliterate")));
  }

  return {
    toggle, node,
    draw() {
      const { read_only: readOnly, paused_names: names } = page.part("head");
      toggle.hidden = readOnly;
      if (readOnly) return;
      if (!node.firstChild) fill();
      memo(paused, names, (all) => all.map((one) => page.link.act(`Resume ${one}`,
        { do: "resume_name", name: one }, { testid: "cv-resume-name" })));
    },
  };
}
