// The tabs of a queue. Only the parts of the one that is open are read, sent and drawn.

import { capital, h, reconcile } from "./elements.js";

/**
 * @param {import("./panel.js").Page} page
 * @param {Record<string, View[]>} tabs the views of each tab
 * @param {{chosen?: () => string, prefix?: string, label?: string}} [of] which one is open, how their test ids
 *   begin, and how they are called together; without: those of a queue
 * @typedef {{nodes: HTMLElement[], draw: () => void}} View
 */
export function makeTabs(page, tabs, { chosen = () => page.part("tab"), prefix = "cv", label = "Views" } = {}) {
  const names = Object.keys(tabs);
  const bar = h("div", { class: "cv-tabs", role: "tablist", "aria-label": label, "data-testid": `${prefix}-tabs` });
  const own = Math.random().toString(36).slice(2);
  const sheets = Object.fromEntries(names.map((name) => [name, h("div", {
    role: "tabpanel", id: `${own}-${name}`, "aria-label": capital(name), hidden: true,
    "data-testid": `${prefix}-sheet-${name}`,
  }, ...tabs[name].flatMap((view) => view.nodes))]));

  const open = (name) => page.link.send({ do: "tab", tab: name });

  const makeTab = (name) => h("button", {
    type: "button", role: "tab", class: "cv-tab", "data-label": capital(name), "aria-controls": `${own}-${name}`,
    "data-testid": `${prefix}-tab-${name}`, onclick: () => open(name),
  }, capital(name));

  bar.addEventListener("keydown", (event) => {
    const at = [...bar.children].indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1 + names.length, Home: 0, End: names.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = /** @type {HTMLElement} */ (bar.children[to % names.length]);
    next.focus();
    open(next.dataset.key);
  });

  return {
    nodes: [bar, ...Object.values(sheets)],
    draw() {
      const shown = chosen();
      reconcile(bar, names, (name) => name, makeTab, (tab, name) => {
        tab.setAttribute("aria-selected", String(name === shown));
        tab.tabIndex = name === shown ? 0 : -1;
      });
      for (const name of names) sheets[name].hidden = name !== shown;
      for (const view of tabs[shown] ?? []) view.draw();
    },
  };
}
