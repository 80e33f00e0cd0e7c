// The room for a picture: whether there is little of it, and that it keeps its height.

const NARROW = 640; // pixels

/**
 * Tells when a node has become narrow, or wide again; it begins wide.
 * @param {HTMLElement} node
 * @param {(isNarrow: boolean) => void} tell
 */
export function watchNarrow(node, tell) {
  let isNarrow = false;
  new ResizeObserver(([{ contentRect }]) => {
    if (!contentRect.width || contentRect.width < NARROW === isNarrow) return;
    isNarrow = !isNarrow;
    tell(isNarrow);
  }).observe(node);
}

/** The height of pictures that follow each other: one never gets lower, unless it is laid out anew. */
export function makeHeights() {
  let [width, tallest] = [0, 0];
  return {
    /** @param {number} wide @param {number} high */
    of(wide, high) {
      tallest = wide === width ? Math.max(tallest, high) : high;
      width = wide;
      return tallest;
    },
    forget() { tallest = 0; },
  };
}
