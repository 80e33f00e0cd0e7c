// A tape in a panel: a slider over its events, steps forward and back, and what has just happened.

import { h, memo, setAttribute, setText } from "./elements.js";

const TICK_MS = 500;
const TICKS = 60; // a whole tape plays in half a minute, however many events it has

/** How many events are played in a tick. @param {number} total how many there are */
export const stride = (total) => Math.max(1, Math.ceil(total / TICKS));

/**
 * Sends the last wish only, and none before the answer to the one before it.
 * @param {(place: number) => void} send
 */
export function makeWish(send) {
  /** @type {number | null} */
  let wanted = null;
  /** @type {number | null} */
  let sent = null;
  return {
    /** Where it is to be, or is. @param {number} at */
    place: (at) => wanted ?? at,
    /** @param {number} place @param {number} at where it is */
    want(place, at) {
      wanted = place;
      if (sent === null && place !== at) send(sent = place);
    },
    /** A frame has come. @param {number} at where it is */
    arrived(at) {
      if (sent === at) sent = null;
      if (wanted === at) wanted = null;
      if (wanted !== null && sent === null) send(sent = wanted);
    },
  };
}

/** @param {import("./panel.js").Page} page */
export function makeReplay(page) {
  const part = () => page.part("replay");
  const wish = makeWish((place) => page.link.send({ do: "replay", page: place }));
  /** @type {ReturnType<typeof setInterval> | undefined} */
  let playing;

  function go(place) {
    const { at, total } = part();
    const next = Math.min(total, Math.max(0, place));
    slider.value = String(next);
    wish.want(next, at);
  }

  const step = (by) => go(wish.place(part().at) + by);

  function stop() {
    clearInterval(playing);
    playing = undefined;
    setText(play, "Play");
  }

  function start() {
    if (part().at === part().total) go(0);
    playing = setInterval(() => {
      const { at, total } = part();
      if (!node.isConnected || page.link.isDead() || at === total) stop();
      else if (wish.place(at) === at) step(stride(total)); // the page has drawn the one before
    }, TICK_MS);
    setText(play, "Stop");
  }

  const button = (label, aria, testid, onclick) => h("button", {
    type: "button", class: "cv-button", "aria-label": aria, title: aria, "data-testid": `cv-replay-${testid}`, onclick,
  }, label);
  const way = (label, aria, testid, place) => button(label, aria, testid, () => { stop(); place(); });
  const slider = /** @type {HTMLInputElement} */ (h("input", {
    type: "range", class: "cv-replay-slider", min: "0", value: "0", "aria-label": "Event", "data-testid": "cv-replay-slider",
    oninput: () => { stop(); go(Number(slider.value)); },
  }));
  const play = h("button", {
    type: "button", class: "cv-button cv-replay-play", "data-testid": "cv-replay-play",
    onclick: () => playing === undefined ? start() : stop(),
  }, "Play");
  // a host may keep the keys of a slider for itself
  slider.addEventListener("keydown", (event) => {
    const { total } = part();
    const far = Math.max(2, Math.ceil(total / 10));
    const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: far, PageDown: -far, Home: -total, End: total }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    stop();
    step(by);
  });
  const count = h("span", { class: "cv-num cv-muted cv-replay-count", "data-testid": "cv-replay-count" });
  const marks = h("div", { class: "cv-replay-marks", "aria-hidden": "true" });
  const told = h("span", { class: "cv-replay-told", role: "status", "data-testid": "cv-replay-told" });
  const open = h("button", {
    type: "button", class: "cv-button cv-quiet-text", "data-testid": "cv-replay-open",
    onclick: () => page.openJob(part().id, part().queue),
  }, "Open job");
  const node = h("div", { class: "cv-replay", role: "group", "aria-label": "Replay", "data-testid": "cv-replay" },
    h("div", { class: "cv-replay-row" },
      way("|‹", "To the begin", "first", () => go(0)),
      way("‹", "One event back", "back", () => step(-1)),
      play,
      way("›", "One event on", "on", () => step(1)),
      way("›|", "To the end", "last", () => go(part().total)),
      h("div", { class: "cv-replay-track" }, marks, slider), count),
    h("div", { class: "cv-replay-row" }, told, h("span", { class: "cv-gap" }), open));

  return {
    nodes: [node],
    draw() {
      const shown = part();
      node.hidden = shown?.total === undefined;
      if (node.hidden) return;
      wish.arrived(shown.at);
      slider.max = String(shown.total);
      slider.value = String(wish.place(shown.at));
      setAttribute(slider, "aria-valuetext", `${shown.at} of ${shown.total}: ${shown.text}`);
      setText(count, `${shown.at.toLocaleString("en")} / ${shown.total.toLocaleString("en")}`);
      setText(told, shown.text);
      open.style.visibility = shown.id ? "visible" : "hidden"; // its place stays
      memo(marks, [shown.marks, shown.total], () => shown.marks.map(([place, kind]) => {
        const mark = h("i", { class: `cv-mark-${kind}` });
        mark.style.left = `${(100 * place) / shown.total}%`;
        return mark;
      }));
    },
  };
}
