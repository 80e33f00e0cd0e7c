// The front end of a panel. Python holds the state and sends frames; the views draw their parts of
// it and send back what was clicked. Whatever a job carries goes into the page as text.

import { makeAloud } from "./aloud.js";
import { makeBelt } from "./belt.js";
import { h, setText } from "./elements.js";
import { makeEvents } from "./events.js";
import { makeFlows } from "./flows.js";
import { makeFocus } from "./focus.js";
import { makeGroups } from "./groups.js";
import { makeHead } from "./head.js";
import { makeJob } from "./job.js";
import { makeJobs } from "./jobs.js";
import { makeLink } from "./link.js";
import { makeMetrics } from "./metrics.js";
import { mount } from "./mount.js";
import { makeParts } from "./parts.js";
import { makePulse } from "./pulse.js";
import { makeQueues } from "./queues.js";
import { makeReplay } from "./replay.js";
import { makeSchedules } from "./schedules.js";
import { watchSight } from "./sight.js";
import { makeStates } from "./states.js";
import { makeTabs } from "./tabs.js";
import { span, storeClock } from "./time.js";
import { makeTimeline } from "./timeline.js";
import { makeWorkerCards } from "./worker-cards.js";
import { makeWorkers } from "./workers.js";

/**
 * What a view has at hand.
 * @typedef {object} Page
 * @property {HTMLElement} root the whole panel
 * @property {import("./link.js").Link} link
 * @property {ReturnType<typeof storeClock>} clock
 * @property {(name: string) => any} part what the last frame says of something
 * @property {(id: string, queue?: string) => void} openJob opens a job, of this queue or of another; an empty id closes it
 * @property {() => string | null} takeNewlyOpened the job that was opened last, once
 * @property {() => void} redraw draws again what the last frame says
 * @property {(change: () => void) => void} keepFocus does something after which the keyboard is still in the panel
 * @property {(node: HTMLElement, at: number | null, word: string) => void} setAge shows how long ago
 */

/** @returns {Page} */
function makePage(model, el, root) {
  const part = makeParts(model);
  const link = makeLink(model, el, () => Boolean((part("head") ?? {}).read_only));
  const clock = storeClock(() => part("tab") === null ? part("queues") : part("head"));
  const focus = makeFocus(root);
  let newlyOpened = null;
  return {
    root, link, clock, part,
    keepFocus: focus.keep,
    redraw: () => {},
    openJob(id, queue = "") {
      newlyOpened = id || null;
      if (id) focus.leave();
      const isOfAll = part("tab") === null; // where a queue has to be opened with it
      link.send({ do: isOfAll ? "queue" : "open", id, queue });
    },
    takeNewlyOpened() {
      const id = newlyOpened;
      if (id !== null && id === part("detail")?.id) newlyOpened = null;
      return id;
    },
    setAge(node, at, word) {
      node.hidden = at === null;
      if (at === null) return;
      node.dataset.at = String(at);
      node.title = `${word} ${clock.full(at)}`;
      setText(node, ageIn(node, clock));
    },
  };
}

/** How long ago something was, or for how long it runs. */
const ageIn = ({ dataset }, clock) => "runs" in dataset ? span(clock.now() - +dataset.at) : clock.ago(+dataset.at);

function render({ model, el }) {
  const root = h("div", {
    class: "cv-panel", role: "region", tabindex: "-1", "data-testid": "cv-panel",
    "data-lm-suppress-shortcuts": "true", // keys typed here are not for JupyterLab's commands
  });
  const page = makePage(model, el, root);
  const make = (...makers) => makers.map((maker) => maker(page));
  const head = makeHead(page);
  const replay = makeReplay(page);
  const queues = makeQueues(page);
  const inQueue = [
    makeTabs(page, {
      jobs: make(makePulse, makeBelt, makeStates, makeWorkers, makeJobs),
      flows: make(makeFlows),
      schedules: make(makeSchedules),
      groups: make(makeGroups),
      workers: make(makeWorkerCards),
      timeline: make(makeTimeline),
      metrics: make(makeMetrics),
      events: make(makeEvents),
    }),
    makeJob(page), // whatever tab it was opened from
    makeAloud(page),
  ];
  const ofStore = h("div", {}, ...queues.nodes);
  const ofQueue = h("div", {}, ...inQueue.flatMap((view) => view.nodes));
  root.append(...head.nodes, ...replay.nodes, ofStore, ofQueue);

  function draw() {
    const isOfAll = page.part("tab") === null;
    head.draw();
    replay.draw();
    ofStore.hidden = !isOfAll;
    ofQueue.hidden = isOfAll;
    for (const view of isOfAll ? [queues] : inQueue) view.draw();
  }

  let isSeen = true;

  function paint() {
    if (!isSeen || page.link.skips(page.part("frame"))) return; // another view of it asked for this frame
    const isOfAll = page.part("tab") === null;
    // of a store that has to be waited for, the first frame is under way
    if (isOfAll ? !page.part("queues")?.cards : !page.part("head").counts) return;
    page.clock.arrived();
    page.keepFocus(draw);
    page.link.drawn(page.part("frame"));
  }

  page.redraw = () => page.keepFocus(draw);

  const ticking = setInterval(() => {
    if (!isSeen || page.clock.stands() || page.link.isDead() || page.link.isHeld()) return;
    for (const node of root.querySelectorAll("time[data-at]")) setText(node, ageIn(node, page.clock));
  }, 1000);

  let isOpen = true;
  // a host may tell of the frame's number before it has set the rest of the frame
  const paintSoon = () => queueMicrotask(() => isOpen && paint());

  el.append(root);
  model.on("change:frame", paintSoon);
  page.link.open(root);
  paint();
  const endWatch = watchSight(root, (isNow) => {
    isSeen = isNow;
    if (isSeen) page.link.wake();
    else page.link.rest();
  });

  return () => {
    isOpen = false;
    endWatch();
    clearInterval(ticking);
    model.off("change:frame", paintSoon);
    page.link.close();
  };
}

const initialize = ({ model }) => mount(model, render);

export default { initialize, render };
