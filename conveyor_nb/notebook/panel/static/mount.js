// A panel that is put over its picture in an output of the notebook. What is saved there is plain
// HTML, which every reader shows; the panel is put there as soon as its kernel is heard.

const LOST = "cv-disconnected";
const OUTPUT_LOOK = "jp-RenderedHTMLCommon"; // JupyterLab's own look of tables and the like

/** Where an element is scrolled to, and what in it has the keyboard; a move takes both away. */
function keepPlace(el) {
  /** @type {Map<Element, [number, number]>} */
  const scrolled = new Map();
  /** @type {HTMLElement | null} */
  let focused = null;
  el.addEventListener("scroll", ({ target }) => {
    if (el.isConnected) scrolled.set(target, [target.scrollLeft, target.scrollTop]);
  }, true);
  el.addEventListener("focusin", ({ target }) => { focused = target; });
  el.addEventListener("focusout", () => queueMicrotask(() => { // when it is taken off the page, it is off by then
    if (el.isConnected && !el.contains(document.activeElement)) focused = null;
  }));
  return () => {
    for (const [node, [left, top]] of scrolled) node.scrollTo({ left, top, behavior: "instant" });
    focused?.focus({ preventScroll: true });
    for (const animation of el.getAnimations({ subtree: true })) { // it has come long ago
      if (Number.isFinite(animation.effect?.getComputedTiming().endTime)) animation.finish();
    }
  };
}

/**
 * Which places have come, and whose panels have lost theirs.
 * @template Place, Shown
 * @param {Map<Place, Shown>} shown the panel of each place
 * @param {Place[]} places those that are on the page now
 * @returns {{ fresh: Place[], left: [Place, Shown][] }}
 */
export function compare(shown, places) {
  const there = new Set(places);
  return {
    fresh: places.filter((place) => !shown.has(place)),
    left: [...shown].filter(([place]) => !there.has(place)),
  };
}

/**
 * Show a panel in all its places on the page, wherever they come and go.
 * @param {any} model the widget's model
 * @param {(given: { model: any, el: HTMLElement }) => () => void} render
 * @returns {(() => void) | undefined} leaves what is shown as it is
 */
export function mount(model, render) {
  const id = model.get("mount");
  if (!id) return undefined; // the notebook shows the widget itself
  const places = document.getElementsByClassName(`cv-mount-${id}`);
  const shown = new Map();
  let whole = null;

  const mark = (el) => el.classList.toggle(LOST, whole?.comm_live === false);
  const markAll = () => { for (const { el } of shown.values()) mark(el); };
  model.on("comm_live_update", markAll);

  function know() { // not before there is a place: a host without any may know no widgets by id
    whole ??= {};
    void model.widget_manager.get_model(id).then((it) => { whole = it; markAll(); });
  }

  function make() {
    if (whole === null) know();
    const el = document.createElement("div");
    mark(el);
    return { el, close: render({ model, el }), settle: keepPlace(el) };
  }

  function look() {
    const { fresh, left } = compare(shown, [...places]);
    for (const place of fresh) {
      const [before, moved] = left.pop() ?? [];
      shown.delete(before);
      const one = moved ?? make();
      place.closest(`.${OUTPUT_LOOK}`)?.classList.remove(OUTPUT_LOOK);
      place.replaceChildren(one.el);
      if (moved) one.settle();
      shown.set(place, one);
    }
    for (const [place, one] of left) {
      one.close();
      shown.delete(place);
    }
  }

  const observer = new MutationObserver(look);
  observer.observe(document.body, { childList: true, subtree: true });
  look();
  return () => observer.disconnect();
}
