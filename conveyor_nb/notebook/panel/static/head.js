// The head of a queue's panel: its name, its state, and how many jobs are in which state.

import { LABELS, h, icon, memo, reconcile, setText } from "./elements.js";

/** @param {import("./panel.js").Page} page */
export function makeHead(page) {
  const title = h("h3", { class: "cv-title", "data-testid": "cv-title" });
  const badges = h("span", { class: "cv-badges" });
  const pauseSlot = h("span", {});
  const notice = h("p", { class: "cv-line cv-notice", role: "status", "data-testid": "cv-notice" });
  const chips = h("div", { class: "cv-chips", role: "group", "aria-label": "Filter jobs by state" });
  const top = h("div", { class: "cv-head" },
    title, badges, h("span", { class: "cv-gap" }), page.link.node, pauseSlot);
  let dismissed = 0;

  function drawNotice() {
    const said = page.part("notice");
    memo(notice, [said, dismissed], () => said && said.n !== dismissed && [
      h("span", {}, said.text),
      h("button", {
        type: "button", class: "cv-button cv-quiet", "aria-label": "Dismiss this message",
        onclick: () => { dismissed = said.n; drawNotice(); },
      }, "×"),
    ]);
  }

  function drawChips(counts, shown) {
    const total = Object.values(counts).reduce((sum, n) => sum + n, 0);
    reconcile(chips, Object.entries(LABELS), ([state]) => state,
      ([state, label]) => h("button", {
        type: "button", class: "cv-chip", title: state, "data-testid": `cv-chip-${state || "all"}`,
        onclick: () => page.link.send({ do: "show", state }),
      }, ...(state ? [icon(state)] : []), h("span", {}, label), h("b", {})),
      (chip, [state]) => {
        const count = state ? counts[state] : total;
        setText(chip.lastChild, count.toLocaleString("en"));
        chip.classList.toggle("cv-zero", !count);
        chip.setAttribute("aria-pressed", String(state === shown));
      });
  }

  return {
    nodes: [top, notice, chips],
    draw() {
      const { name, paused, paused_names: names, counts, speed, now } = page.part("head");
      setText(title, name);
      page.root.setAttribute("aria-label", `Queue ${name}`);
      memo(badges, [paused, names, speed, speed === 0 ? now : 0], () => [
        paused && h("span", { class: "cv-badge cv-warn", "data-testid": "cv-paused" },
          icon("paused"), "Paused"),
        ...names.map((job) => h("span", { class: "cv-badge cv-warn" }, icon("paused"), job)),
        speed !== 1 && h("span", { class: "cv-badge", title: "The store's own clock" },
          speed === 0 ? page.clock.text(now, true) : `clock ×${speed}`),
      ]);
      memo(pauseSlot, paused, () => paused
        ? page.link.button("Resume queue", { do: "resume" }, { kind: "cv-primary" })
        : page.link.button("Pause queue", { do: "pause" }));
      drawNotice();
      drawChips(counts, page.part("jobs").state);
    },
  };
}
