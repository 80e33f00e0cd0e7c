// Whether there is little room for a picture.

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
