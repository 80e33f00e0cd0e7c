// Buttons that choose how much time is shown.

import { h } from "./elements.js";

/**
 * @param {Record<string, string>} labels what each span is called
 * @param {string} testid how their test ids begin
 * @param {(span: string) => void} choose
 */
export function makeSpans(labels, testid, choose) {
  const node = h("div", { class: "cv-spans", role: "group", "aria-label": "Span" },
    ...Object.entries(labels).map(([span, label]) => h("button", {
      type: "button", class: "cv-button", "data-span": span, "data-testid": `${testid}-${span}`,
      onclick: () => choose(span),
    }, label)));
  return {
    node,
    /** @param {string} chosen */
    show(chosen) {
      for (const button of node.children) {
        button.setAttribute("aria-pressed", String(/** @type {HTMLElement} */ (button).dataset.span === chosen));
      }
    },
  };
}
