// How many jobs are in which state; a click shows only those in the table.

import { LABELS, h, icon, reconcile, setText } from "./elements.js";

/** @param {import("./panel.js").Page} page */
export function makeStates(page) {
  const node = h("div", { class: "cv-chips", role: "group", "aria-label": "Filter jobs by state" });

  const makeChip = ([state, label]) => h("button", {
    type: "button", class: "cv-chip", title: state, "data-testid": `cv-chip-${state || "all"}`,
    onclick: () => page.link.send({ do: "show", state }),
  }, ...(state ? [icon(state)] : []), h("span", {}, label), h("b", {}));

  return {
    nodes: [node],
    draw() {
      const { counts } = page.part("head");
      const { state: shown } = page.part("jobs");
      const total = Object.values(counts).reduce((sum, n) => sum + n, 0);
      reconcile(node, Object.entries(LABELS), ([state]) => state, makeChip, (chip, [state]) => {
        const count = state ? counts[state] : total;
        setText(chip.lastChild, count.toLocaleString("en"));
        chip.classList.toggle("cv-zero", !count);
        chip.setAttribute("aria-pressed", String(state === shown));
      });
    },
  };
}
