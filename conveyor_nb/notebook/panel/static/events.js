// The event log: the newest first, of all types, jobs and queues or of one; it can be held to be read.

import { h, memo, reconcile, setText, setTitle, shortId } from "./elements.js";

const MOST_EVENTS = 200;
const PROGRESS = "job:progress";

/**
 * Leaves out the progress of a job that is followed by more of it; the newest line counts them.
 * @template {{type: string, id: string}} E
 * @param {E[]} events newest first
 * @returns {(E & {folded: number})[]}
 */
export function foldProgress(events) {
  const shown = [];
  const newest = new Map(); // of each job the line that stands for its progress
  for (const event of events) {
    const above = newest.get(event.id);
    if (event.type === PROGRESS && above) {
      above.folded += 1;
      continue;
    }
    const line = { ...event, folded: 0 };
    if (event.type === PROGRESS) newest.set(event.id, line);
    else newest.delete(event.id);
    shown.push(line);
  }
  return shown;
}

/**
 * @param {import("./panel.js").Page} page
 * @param {{ofAll?: boolean}} [of] whether of all queues of a store
 */
export function makeEvents(page, { ofAll = false } = {}) {
  const testid = (name) => ofAll ? `cv-all-${name}` : `cv-${name}`;
  let events = [];
  let held = false;
  let unseen = 0;
  const rows = h("ol", {
    class: ofAll ? "cv-events cv-of-all" : "cv-events", tabindex: "0", "aria-label": "Events, newest first",
    "data-testid": testid("events"),
  });
  const ask = () => page.link.send({
    do: "events", type: types.value, id: job.value.trim(), queue: ofAll ? queue.value : "",
  });
  const queue = h("select", {
    class: "cv-select cv-event-queues", "aria-label": "Show events of queue", hidden: !ofAll,
    "data-testid": testid("event-queue"), onchange: ask,
  });
  const types = h("select", {
    class: "cv-select", "aria-label": "Show events of type", "data-testid": testid("event-type"), onchange: ask,
  });
  const job = h("input", {
    class: "cv-select cv-event-job", type: "search", placeholder: "Job id", maxlength: "255",
    "aria-label": "Show events of the job with this id", "data-testid": testid("event-job"), onchange: ask,
  });
  const hold = h("button", {
    type: "button", class: "cv-button", "aria-pressed": "false", "data-testid": testid("hold"),
    onclick: () => {
      held = !held;
      unseen = 0;
      show(!held);
    },
  });
  const caption = h("span", { class: "cv-caption" });

  const makeRow = ({ at, type, id, queue: whose, past }) =>
    h("li", { class: past ? "cv-event cv-past" : "cv-event", "data-type": type, "data-testid": testid("event") },
      h("span", { class: "cv-num cv-muted", title: page.clock.full(at) + (past ? ", told by the job's record" : "") },
        page.clock.text(at)),
      h("span", { class: "cv-type" }, type),
      ofAll && whose ? h("span", { class: "cv-event-queue", title: whose }, whose) : ofAll ? h("span", {}) : null,
      id ? h("button", {
        type: "button", class: "cv-open cv-id", title: `Open job ${id}`, "data-testid": testid("event-open"),
        onclick: () => page.openJob(id, ofAll ? whose : ""),
      }, shortId(id, 18)) : h("span", { class: "cv-id" }),
      h("span", { class: "cv-text" }));

  function drawRow(row, { text, due, folded }) {
    const said = [text, due && `due ${page.clock.text(due)}`, folded && `after ${folded} more`].filter(Boolean).join(" · ");
    setText(row.lastChild, said);
    setTitle(row.lastChild, said);
  }

  function show(anew) {
    setText(hold, held ? (unseen ? `Held · ${Math.min(unseen, MOST_EVENTS)} new` : "Held") : "Hold");
    hold.setAttribute("aria-pressed", String(held));
    if (anew) reconcile(rows, foldProgress(events), (event) => event.n, makeRow, drawRow);
  }

  return {
    nodes: [h("section", { class: "cv-log", "aria-label": "Event log" },
      h("div", { class: "cv-log-head" }, caption, h("span", { class: "cv-gap" }), queue, job, types, hold),
      rows)],
    draw() {
      const { reset, type, job: id, queue: of, queues, types: known, rows: fresh } = page.part("events");
      setText(caption, `Events, times in ${page.clock.zone()}`);
      if (reset) events = [];
      events = [...fresh, ...events].slice(0, MOST_EVENTS);
      if (reset) unseen = 0;
      else if (held) unseen += fresh.length;
      memo(types, known, () => [["", "All types"], ...known.map((name) => [name, name])].map(
        ([value, label]) => h("option", { value }, label)));
      memo(queue, queues, () => [["", "All queues"], ...queues.map((name) => [name, name])].map(
        ([value, label]) => h("option", { value }, label)));
      if (document.activeElement !== queue) queue.value = of;
      if (document.activeElement !== types) types.value = type;
      if (document.activeElement !== job) job.value = id;
      show(!held || reset); // another filter is seen while it is held, too
    },
  };
}
