// What the views are built with. Text goes into the page as text nodes, never as HTML, and whatever
// would not be seen in it, or would turn it round, is shown as an escape.

import { fit } from "./text.js";

export const LABELS = {
  "": "All", // states as the contract orders them; the key is also the filter that a chip sends
  waiting: "Waiting",
  active: "Active",
  delayed: "Delayed",
  completed: "Completed",
  failed: "Failed",
  "waiting-children": "Children",
};

/** A state, as it is said of one job. @param {string} state */
export const stateOf = (state) => state === "waiting-children" ? "Waits for children" : LABELS[state];

// Outlines on a 12 x 12 grid: the shape says the state to those who don't see its colour.
export const SHAPES = {
  waiting: "M6 1.8a4.2 4.2 0 1 0 0 8.4a4.2 4.2 0 1 0 0-8.4",
  active: "M6 1.8a4.2 4.2 0 1 0 0 8.4a4.2 4.2 0 1 0 0-8.4 M4.9 4.1L8 6L4.9 7.9Z",
  delayed: "M6 1.8a4.2 4.2 0 1 0 0 8.4a4.2 4.2 0 1 0 0-8.4 M6 3.8V6.2L7.7 7.1",
  completed: "M2.2 6.4L4.9 9L9.8 3.4",
  failed: "M3 3L9 9M9 3L3 9",
  "waiting-children": "M6 2.4h.01 M6 4.2V6.4 M3 9.6V7.6Q3 6.4 4.2 6.4H7.8Q9 6.4 9 7.6V9.6",
  running: "M4 2.6L9.4 6L4 9.4Z",
  paused: "M4.2 2.8V9.2M7.8 2.8V9.2",
  group: "M2 3.5H10M2 6H10M2 8.5H7",
  stopped: "M3.2 3.2H8.8V8.8H3.2Z",
  "put-back": "M4.6 2.6L2.4 4.8L4.6 7M2.4 4.8H7.2A2.3 2.3 0 0 1 7.2 9.4H5",
};

const READ = new Set(["title", "aria-label", "placeholder"]); // attributes that a person is told

/** Set an attribute; what is read is made fit for that. */
export function setAttribute(node, name, value) {
  node.setAttribute(name, READ.has(name) ? fit(String(value)) : String(value));
}

const toShow = (child) => typeof child === "string" ? fit(child) : child;

/** An element with attributes, `on...` listeners and children; a string is a text node. */
export function h(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else setAttribute(node, key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined).map(toShow));
  return node;
}

/** One of the outlines above, drawn in the colour of the text. */
export function icon(shape) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const path = document.createElementNS(space, "path");
  svg.setAttribute("viewBox", "0 0 12 12");
  svg.setAttribute("class", `cv-icon cv-is-${shape}`);
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", SHAPES[shape] ?? SHAPES.waiting);
  svg.append(path);
  return svg;
}

/** A word with a capital letter. @param {string} word */
export const capital = (word) => word[0].toUpperCase() + word.slice(1);

/** An id with its middle left out if it is long: the end is what tells it from others. */
export function shortId(whole, most) {
  const id = fit(whole);
  if (id.length <= most) return id;
  const first = Math.floor((most - 1) / 3);
  return `${id.slice(0, first)}…${id.slice(id.length - (most - 1 - first))}`;
}

export const setText = (node, text) => {
  const shown = toShow(text);
  if (node.textContent !== shown) node.textContent = shown;
};

export const setTitle = (node, text) => setAttribute(node, "title", text);

/** Refill a node only if what it shows has changed: focus, selection and scrolling stay. */
export function memo(node, value, fill) {
  const seen = JSON.stringify(value);
  if (node.cvSeen === seen) return;
  node.cvSeen = seen;
  node.replaceChildren(...[fill(value)].flat().filter(Boolean).map(toShow));
}

/** Make the children of `parent` those of `items`, moving and refilling existing nodes. */
export function reconcile(parent, items, key, create, update) {
  const old = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  let place = parent.firstElementChild;
  for (const item of items) {
    let node = old.get(String(key(item)));
    if (node) old.delete(node.dataset.key);
    else {
      node = create(item);
      node.dataset.key = key(item);
    }
    update(node, item);
    if (node === place) place = node.nextElementSibling;
    else parent.insertBefore(node, place);
  }
  for (const node of old.values()) node.remove();
}

/** Let a node say what there is not, and by which line of code there would be. */
export const advise = (node, text, code = "") => memo(node, [text, code], () => [text, code && h("code", { class: "cv-code" }, code)]);

/** A labelled block of preformatted text, scrollable by keyboard; nothing if there is none. */
export function textBlock(label, text, testid) {
  if (!text) return null;
  return h("div", {}, h("h5", {}, label),
    h("pre", { tabindex: "0", role: "group", "aria-label": label, "data-testid": testid }, text));
}
