// What a screen reader says by itself while jobs move: in few words, and not too often.

import { h, setText } from "./elements.js";

const REST_MS = 5_000; // between two sayings that nobody waits for
const END_WORDS = { completed: "completed", failed: "failed" };

/**
 * @typedef {object} Heard
 * @property {string} name of the queue
 * @property {boolean} paused
 * @property {Record<string, number>} counts of jobs, by state
 */

const settledOf = ({ counts }) => counts.completed + counts.failed;
const totalOf = ({ counts }) => Object.values(counts).reduce((sum, count) => sum + count, 0);
const inFull = (count) => count.toLocaleString("en");

/**
 * What there is to say of a queue that was heard of before; empty: nothing.
 * @param {Heard} before
 * @param {Heard} now
 * @returns {string}
 */
export function newsOf(before, now) {
  if (before.name !== now.name) return "";
  const news = [];
  if (before.paused !== now.paused) news.push(now.paused ? "The queue is paused" : "The queue goes on");
  const failures = now.counts.failed - before.counts.failed;
  if (failures > 0) news.push(`${inFull(failures)} more failed`);
  const [done, all] = [settledOf(now), totalOf(now)];
  if (done > settledOf(before)) {
    const ends = Object.entries(END_WORDS).filter(([state]) => now.counts[state])
      .map(([state, word]) => `${inFull(now.counts[state])} ${word}`).join(", ");
    news.push(done === all ? `All is done: ${ends}` : `${inFull(done)} of ${inFull(all)} done`);
  }
  return news.join(". ");
}

/** @param {import("./panel.js").Page} page */
export function makeAloud(page) {
  const node = h("p", { class: "cv-aloud", role: "status", "data-testid": "cv-aloud" });
  /** @type {Heard | null} */
  let before = null;
  let last = 0;
  let later = 0;

  function say() {
    clearTimeout(later);
    later = 0;
    const { name, paused, counts } = page.part("head");
    const now = { name, paused, counts };
    if (before === null || before.name !== name) {
      before = now;
      setText(node, "");
      return;
    }
    const news = newsOf(before, now);
    const rest = last + REST_MS - performance.now();
    if (!news || (rest > 0 && before.paused === paused)) {
      if (news) later = window.setTimeout(say, rest);
      return;
    }
    [before, last] = [now, performance.now()];
    setText(node, news);
  }

  return { nodes: [node], draw: say };
}
