// Whether a panel can be seen: it is not scrolled away, not in a closed tab, nor in a window behind.

const LEAVE_MS = 400; // who scrolls past, or moves the panel, has not left it
const NEAR = "200px"; // it is awake by the time it comes into sight

/**
 * Tell whenever something comes into sight, and when it is out of sight for good.
 * @param {HTMLElement} node which is taken to be seen at first
 * @param {(isSeen: boolean) => void} tell
 * @returns {() => void} ends it
 */
export function watchSight(node, tell) {
  let isNear = true;
  let isSeen = true;
  let leaving = 0;

  function set(next) {
    if (next === isSeen) return;
    isSeen = next;
    tell(isSeen);
  }

  function look() {
    clearTimeout(leaving);
    if (isNear && !document.hidden) set(true);
    else leaving = window.setTimeout(() => set(false), LEAVE_MS);
  }

  // the second margin is for what scrolls within the page, as a notebook does
  const options = /** @type {IntersectionObserverInit} */ ({ rootMargin: NEAR, scrollMargin: NEAR });
  const observer = new IntersectionObserver((entries) => {
    isNear = entries[entries.length - 1].isIntersecting;
    look();
  }, options);
  observer.observe(node);
  document.addEventListener("visibilitychange", look);
  return () => {
    clearTimeout(leaving);
    observer.disconnect();
    document.removeEventListener("visibilitychange", look);
  };
}
