// From page to page of the table: first, last, the next ones, and any by its number.

import { h, setText } from "./elements.js";

const grouped = (count) => count.toLocaleString("en");

/** What a page of a table says of itself. */
export function pageText(first, shown, total, isSearch = false) {
  if (!total) return "";
  return `${grouped(first + 1)}–${grouped(first + shown)} of ${grouped(total)}${isSearch ? " found" : ""}`;
}

/** The page, counted from 0, that a person means by a number, counted from 1; null: none. */
export function pageOf(text, pages) {
  const number = Number(text);
  if (!text.trim() || !Number.isFinite(number)) return null;
  return Math.min(pages, Math.max(1, Math.round(number))) - 1;
}

/** @param {import("./panel.js").Page} page */
export function makePager(page) {
  const said = h("span", { class: "cv-page", "data-testid": "cv-page" });
  const jobs = () => page.part("jobs");
  const turn = (label, sign, name, to) => h("button", {
    type: "button", class: "cv-button", "aria-label": name, title: name, "data-testid": `cv-${label}`,
    onclick: (event) => page.link.send({ do: "page", page: to() }, { button: event.currentTarget }), // not if it is disabled
  }, sign);
  const back = [turn("first", "«", "First page", () => 0),
    turn("prev", "‹", "Previous page", () => jobs().page - 1)];
  const forth = [turn("next", "›", "Next page", () => jobs().page + 1),
    turn("last", "»", "Last page", () => jobs().pages - 1)];
  const number = h("input", {
    class: "cv-input cv-number", inputmode: "numeric", "aria-label": "Page number", "data-testid": "cv-page-number",
    onchange: () => go(),
    onkeydown: (event) => event.key === "Enter" && go(),
  });
  function go() {
    const to = pageOf(number.value, jobs().pages);
    number.value = String((to ?? jobs().page) + 1);
    if (to !== null && to !== jobs().page) page.link.send({ do: "page", page: to });
  }
  const of = h("span", { class: "cv-muted cv-of" });
  const turning = h("span", { class: "cv-turning" }, ...back, number, of, ...forth);

  return {
    nodes: [said, turning],
    draw() {
      const { total, first, page: at, pages, rows, filter } = jobs();
      setText(said, pageText(first, rows.length, total, Object.values(filter).some(Boolean)));
      turning.hidden = pages < 2;
      // by ARIA alone: a button that is disabled would lose the keyboard
      for (const button of back) button.setAttribute("aria-disabled", String(at === 0));
      for (const button of forth) button.setAttribute("aria-disabled", String(at >= pages - 1));
      if (number !== document.activeElement) number.value = String(at + 1);
      setText(of, `of ${grouped(pages)}`);
    },
  };
}
