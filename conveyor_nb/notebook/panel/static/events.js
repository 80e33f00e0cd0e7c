// The event log: the newest first, of all types or of one; it can be held to be read.

import { h, memo, reconcile, setText } from "./elements.js";

const MOST_EVENTS = 200;

/** @param {import("./panel.js").Page} page */
export function makeEvents(page) {
  let events = [];
  let held = false;
  let unseen = 0;
  const rows = h("ol", {
    class: "cv-events", tabindex: "0", "aria-label": "Events, newest first", "data-testid": "cv-events",
  });
  const types = h("select", {
    class: "cv-select", "aria-label": "Show events of type", "data-testid": "cv-event-type",
    onchange: () => page.link.send({ do: "event_type", type: types.value }),
  });
  const hold = h("button", {
    type: "button", class: "cv-button", "aria-pressed": "false", "data-testid": "cv-hold",
    onclick: () => {
      held = !held;
      unseen = 0;
      show();
    },
  });

  const makeRow = ({ at, type, id, text }) =>
    h("li", { class: "cv-event", "data-type": type, "data-testid": "cv-event" },
      h("span", { class: "cv-num cv-muted", title: new Date(at * 1000).toISOString() }, page.clock.text(at)),
      h("span", { class: "cv-type" }, type), h("span", { class: "cv-id" }, id),
      h("span", { class: "cv-text", title: text }, text));

  function show() {
    setText(hold, held ? (unseen ? `Held · ${Math.min(unseen, MOST_EVENTS)} new` : "Held") : "Hold");
    hold.setAttribute("aria-pressed", String(held));
    if (!held) reconcile(rows, events, (event) => event.n, makeRow, () => {});
  }

  return {
    nodes: [h("section", { class: "cv-log", "aria-label": "Event log" },
      h("div", { class: "cv-log-head" }, h("span", { class: "cv-caption" }, "Events"),
        h("span", { class: "cv-gap" }), types, hold),
      rows)],
    draw() {
      const { reset, type, types: known, rows: fresh } = page.part("events");
      if (reset) events = [];
      events = [...fresh, ...events].slice(0, MOST_EVENTS);
      if (held) unseen += fresh.length;
      memo(types, known, () => [["", "All types"], ...known.map((name) => [name, name])].map(
        ([value, label]) => h("option", { value }, label)));
      if (document.activeElement !== types) types.value = type;
      show();
    },
  };
}
