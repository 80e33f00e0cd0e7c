// The belt: pictures that Python has laid out, one after the other. Each job is one piece, known by
// its id, and so moves from the belt to a slot, back to the shelf or into a tray.

import { h, setAttribute, setText } from "./elements.js";
import { makeHeights, watchNarrow } from "./narrow.js";
import { makePointing } from "./pointing.js";
import { fit } from "./text.js";

const SPACE = "http://www.w3.org/2000/svg";
const GONE_MS = 300;
const BY = ["name", "group", "priority", "state"];
const MARGIN = 11; // of a picture, which the panel has too

/**
 * An element of a picture as Python sends it: a tag, attributes, and children or texts.
 * @typedef {[string, Record<string, string | number>, ...(any[] | string)[]]} Drawn
 */

/** Make an element; texts become text nodes. @param {Drawn} drawn @returns {SVGElement} */
export function build([tag, attributes, ...children]) {
  const node = /** @type {SVGElement} */ (document.createElementNS(SPACE, tag));
  for (const [name, value] of Object.entries(attributes)) setAttribute(node, name, value);
  node.append(...children.map((child) => typeof child === "string" ? fit(child) : build(/** @type {any} */ (child))));
  return node;
}

/** Where a piece is. @param {Drawn} drawn */
const placeOf = ([, { transform }]) => {
  const [x, y] = String(transform).match(/-?[\d.]+/g) ?? [0, 0];
  return `translate(${x}px, ${y}px)`;
};

/** Let the pieces of a layer be those of a new picture: those that stay move to their places. */
export function movePieces(layer, drawn) {
  const old = new Map([...layer.children].filter((node) => !node.dataset.gone)
    .map((node) => [node.dataset.key, node]));
  for (const item of drawn) {
    const key = item[1]["data-key"];
    const content = JSON.stringify(item.slice(2));
    let node = old.get(key);
    old.delete(key);
    if (!node) {
      node = build(item);
      node.removeAttribute("transform");
      node.dataset.content = content;
      layer.append(node);
    } else if (node.dataset.content !== content) {
      node.replaceChildren(...build(item).childNodes);
      node.dataset.content = content;
    }
    node.style.transform = placeOf(item);
  }
  for (const node of old.values()) {
    node.dataset.gone = "yes";
    setTimeout(() => node.remove(), GONE_MS);
  }
}

/**
 * @param {import("./panel.js").Page} page
 * @param {{read?: () => {picture: any, told: string, by: string}, ask?: string, testid?: string}} [of] which picture, how the
 *   kernel is told how much room there is, and what it is called; without: the queue's
 */
export function makeBelt(page, { read = () => page.part("belt"), ask = "belt", testid = "cv-belt" } = {}) {
  const told = h("span", { class: "cv-flow", "data-testid": `${testid}-told` });
  const hint = h("span", { class: "cv-belt-hint", role: "status", "data-testid": `${testid}-hint` });
  const still = document.createElementNS(SPACE, "g");
  const pieces = document.createElementNS(SPACE, "g");
  const svg = document.createElementNS(SPACE, "svg");
  svg.setAttribute("role", "img");
  svg.classList.add("cvp");
  pieces.classList.add("cvp-pieces");
  svg.append(still, pieces);
  const node = h("div", {
    class: "cv-belt", tabindex: "0", role: "group", "aria-label": "The belt: arrow keys go from job to job, Enter opens one",
    "data-testid": testid,
  }, svg);
  const heights = makeHeights();
  let drawnStill = "";
  let narrow = false;
  /** @type {string[]} */
  let order = []; // the ids of the jobs that are seen
  const choice = h("select", {
    class: "cv-belt-by", "aria-label": "Colour and shape of jobs by", "data-testid": `${testid}-by`,
    onchange: () => page.link.send({ do: ask, narrow, by: choice.value }),
  }, ...BY.map((by) => h("option", { value: by }, `by ${by}`)));

  const pointing = makePointing(node, {
    selector: ".cvp-piece",
    parts: () => {
      const all = new Map([...pieces.children].map((piece) => [/** @type {SVGElement} */ (piece).dataset.key, piece]));
      return order.flatMap((id) => all.get(id) ?? []);
    },
    tell: (title) => setText(hint, title),
    open: ({ dataset }) => page.openJob(dataset.job ?? dataset.key ?? "", dataset.queue ?? ""),
  });

  watchNarrow(node, (isNarrow) => {
    narrow = isNarrow;
    page.link.send({ do: ask, narrow });
  });

  return {
    nodes: [h("div", { class: "cv-flow-line" }, told, hint, choice), node],
    /** Another one will be shown, which may be lower. */
    renew() { heights.forget(); },
    draw() {
      const { picture, told: words, by } = read();
      if (document.activeElement !== choice) choice.value = by;
      const [, attributes, title, , quiet, moving] = picture;
      setText(told, words);
      setAttribute(svg, "aria-label", title[2]);
      const [, , width, height] = attributes.viewBox.split(" ").map(Number);
      svg.setAttribute("viewBox", `${MARGIN} 0 ${width - 2 * MARGIN} ${heights.of(width, height)}`);
      const content = JSON.stringify(quiet);
      if (content !== drawnStill) still.replaceChildren(build(quiet));
      drawnStill = content;
      movePieces(pieces, moving.slice(2));
      order = moving.slice(2).map((piece) => piece[1]["data-key"]);
      pointing.renew();
    },
  };
}
