// A value as a tree that folds. What is in it is other people's: it goes into the page as text.

import { h } from "./elements.js";

const OPEN_DEPTH = 2;
const MOST_OPEN = 20; // a container of more is closed at first
const PREVIEW = 60;
const BRACKETS = { dict: "{}", list: "[]", tuple: "()", set: "{}" };

/**
 * @typedef {object} Tree
 * @property {string} kind
 * @property {string} [text] of a leaf
 * @property {number} [count] of a container: how many parts it has in all
 * @property {[string, Tree][]} [parts] those that are shown
 */

/** What a folded container says of what is in it. @param {Tree} tree @returns {string} */
export function preview({ kind, count = 0, parts = [] }) {
  const [open, close] = BRACKETS[kind];
  let inside = "";
  for (const [label, part] of parts) {
    const value = part.parts ? `${BRACKETS[part.kind][0]}…${BRACKETS[part.kind][1]}` : part.text;
    const said = kind === "dict" ? `${label}: ${value}` : `${value}`;
    if (inside.length + said.length > PREVIEW) {
      inside += inside ? ", …" : "…";
      break;
    }
    inside += inside ? `, ${said}` : said;
  }
  return count > 3 ? `${open}${inside}${close} ${count.toLocaleString("en")}` : `${open}${inside}${close}`;
}

/** What an open one says of itself, with its parts below. @param {Tree} tree @returns {string} */
const brief = ({ kind, count = 0 }) => `${kind} of ${count.toLocaleString("en")}`;

/** @param {Tree} tree @param {string | null} label @returns {HTMLElement} */
export function makeTree(tree, label = null, depth = 0) {
  const key = label === null ? null : h("span", { class: "cv-job-key" }, label);
  if (!tree.parts) {
    return h("div", { class: "cv-job-leaf" }, key, h("span", { class: `cv-value cv-value-${tree.kind}` }, tree.text));
  }
  const count = tree.count ?? 0;
  const more = count - tree.parts.length;
  return h("details", { class: "cv-job-branch", open: count > 0 && depth < OPEN_DEPTH && count <= MOST_OPEN || depth === 0 },
    h("summary", {}, key, h("span", { class: "cv-job-preview" }, preview(tree)),
      h("span", { class: "cv-job-brief" }, brief(tree))),
    h("div", { class: "cv-job-parts" },
      ...tree.parts.map(([name, part]) => makeTree(part, name, depth + 1)),
      more > 0 ? h("div", { class: "cv-muted" }, `… ${more.toLocaleString("en")} more`) : null));
}
