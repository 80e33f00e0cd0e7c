// Parts of a picture that are pointed at, by a pointer or by the arrow keys: the one that is chosen
// is told of, and a click, or Enter, opens it.

/**
 * Which part comes next by a key; they are in order.
 * @param {number} at the one that is chosen, -1: none is
 * @param {string} key
 * @param {number} count how many there are
 */
export function nextPart(at, key, count) {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[key] ?? 0;
  if (key === "Home" || (at < 0 && step > 0)) return 0;
  if (key === "End" || (at < 0 && step < 0)) return count - 1;
  return Math.min(count - 1, Math.max(0, at + step));
}

/**
 * @param {HTMLElement} node what has the keyboard, with the picture in it
 * @param {object} given
 * @param {string} given.selector of the parts
 * @param {() => Element[]} given.parts in their order
 * @param {(title: string) => void} given.tell says what the chosen one is; empty: none is chosen
 * @param {(part: HTMLElement | SVGElement) => void} [given.open]
 */
export function makePointing(node, { selector, parts, tell, open }) {
  let chosen = -1;
  let key = ""; // of the chosen one: another picture has it elsewhere

  const keyOf = (part) => part?.dataset.key ?? "";

  function choose(at) {
    const all = parts();
    chosen = Math.min(at, all.length - 1);
    key = keyOf(all[chosen]);
    all.forEach((part, place) => part.classList.toggle("cvp-chosen", place === chosen));
    tell(all[chosen]?.querySelector("title")?.textContent ?? "");
  }

  // by where the pointer is: a new picture may have come between its going down and up
  const under = (event) => node.ownerDocument.elementsFromPoint(event.clientX, event.clientY)
    .map((one) => one.closest(selector)).find((one) => one && node.contains(one));

  node.addEventListener("pointermove", (event) => choose(parts().indexOf(under(event) ?? node)));
  node.addEventListener("pointerleave", () => choose(-1));
  node.addEventListener("blur", () => choose(-1));
  node.addEventListener("click", (event) => {
    const part = parts()[chosen] ?? under(event); // the one that is told of, though it may have moved on
    if (part) open?.(/** @type {SVGElement} */ (part));
  });
  node.addEventListener("keydown", (event) => {
    const all = parts();
    if (event.key === "Enter" && all[chosen]) open?.(/** @type {SVGElement} */ (all[chosen]));
    else if (event.key === "Escape") choose(-1);
    else if (/^(Arrow|Home|End)/.test(event.key) && all.length) {
      event.preventDefault();
      choose(nextPart(chosen, event.key, all.length));
    }
  });

  return {
    /** The key of the chosen one; empty: none is. */
    key: () => key,
    /** Another picture is there: what is chosen stays so, wherever it is now. */
    renew() {
      if (chosen < 0) return;
      const all = parts();
      const at = keyOf(all[chosen]) === key ? chosen : all.findIndex((part) => keyOf(part) === key);
      choose(at < 0 ? chosen : at);
    },
  };
}
