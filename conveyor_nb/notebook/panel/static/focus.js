// The keyboard's place in a panel: what is drawn anew may take away the button that has it, and
// yet the person goes on from there.

const CAN_HAVE = "button, input, select, textarea, summary, [tabindex]";
const PARTS = "[role=tabpanel], section, form, [role=alertdialog]"; // what is beyond one is another matter
const OPENED = ".cv-detail"; // one job
const MOST_REMEMBERED = 12;

/**
 * Which of several is nearest to a place where one was: the one that stands there now, else the last.
 * @param {number} place counted from 0
 * @param {number} count how many there are
 */
export const nearest = (place, count) => Math.min(Math.max(place, 0), count - 1);

/** Whether the keyboard can be there: it is on the page, is seen and does something. */
const isThere = (node) => node.isConnected && !node.disabled && node.getClientRects().length > 0;
const canHave = (node) => node.matches(CAN_HAVE) && node.tabIndex >= 0 && isThere(node);
const within = (node) => [...node.querySelectorAll(CAN_HAVE)].filter(canHave);
const kindOf = (node) => node.dataset.testid ?? node.className;

/** The way from an element up to the root: each container, and the place in it. */
function wayUp(node, root) {
  const way = [];
  for (let one = node; one !== root; one = one.parentElement) {
    way.push({ parent: one.parentElement, place: [...one.parentElement.children].indexOf(one) });
  }
  return way;
}

/** What stands now where the lost one stood, in the smallest container that is still there. */
function successor(kind, way, root) {
  for (const { parent, place } of way) {
    if (!parent.isConnected || !parent.getClientRects().length) {
      if (parent.matches(PARTS)) return null; // a whole part is gone
      continue;
    }
    const alike = within(parent).filter((one) => kindOf(one) === kind);
    if (alike.length) {
      const passed = [...parent.children].slice(0, place);
      return alike[nearest(alike.filter((one) => passed.some((child) => child.contains(one))).length, alike.length)];
    }
    if (parent === root || parent.matches(PARTS)) return null;
    if (within(parent).length) return within(parent)[nearest(place, within(parent).length)];
  }
  return null;
}

/**
 * Keeps the keyboard in a panel.
 * @param {HTMLElement} root
 */
export function makeFocus(root) {
  /** @type {HTMLElement[]} */
  let recent = []; // what had the keyboard, the last one at the end
  /** @type {HTMLElement | null} */
  let opener = null; // what had it when a job was opened

  root.addEventListener("focusin", ({ target }) => {
    const node = /** @type {HTMLElement} */ (target);
    recent = [...recent.filter((one) => one !== node), node].slice(-MOST_REMEMBERED);
  });

  return {
    /** A job is opened from where the keyboard is: there it is to be when the job is closed. */
    leave() {
      const now = /** @type {HTMLElement | null} */ (root.ownerDocument.activeElement);
      if (now && root.contains(now) && !now.closest(OPENED)) opener = now;
    },
    /** Do something that may take the keyboard's place away, and give it the next best. @param {() => void} change */
    keep(change) {
      const page = root.ownerDocument;
      const had = /** @type {HTMLElement | null} */ (page.activeElement);
      if (!had || had === root || !root.contains(had)) {
        change();
        return;
      }
      const way = wayUp(had, root);
      change();
      const now = page.activeElement;
      if (now === had ? isThere(had) : now && root.contains(now)) return; // it stayed, or was given away
      const before = [...recent, ...(way.some(({ parent }) => parent.matches(OPENED)) && opener ? [opener] : [])];
      const next = isThere(had) ? had : successor(kindOf(had), way, root) ?? before.findLast(canHave) ?? within(root)[0];
      next?.focus({ preventScroll: true });
    },
  };
}
