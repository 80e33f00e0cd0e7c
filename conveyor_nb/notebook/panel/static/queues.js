// All queues of a store: a card for each, which opens it, and the events of all.

import { LABELS, advise, h, icon, memo, reconcile, setText } from "./elements.js";
import { makeEvents } from "./events.js";
import { sparkline } from "./pulse.js";
import { makeTabs } from "./tabs.js";
import { rateWords } from "./worker-cards.js";

/** @param {import("./panel.js").Page} page */
function makeCards(page) {
  const cards = h("div", { class: "cv-cards", role: "list", "aria-label": "Queues", "data-testid": "cv-cards" });
  const more = h("p", { class: "cv-empty", "data-testid": "cv-more-queues" });

  const makeCard = ({ name }) => h("div", { class: "cv-card", role: "listitem", "data-testid": "cv-card" },
    h("div", { class: "cv-card-head" },
      page.link.button(name, { do: "queue", queue: name }, { kind: "cv-card-open", testid: "cv-card-open" }),
      h("span", { class: "cv-card-state" })),
    h("div", { class: "cv-card-bar", "aria-hidden": "true" }),
    h("div", { class: "cv-card-counts" }),
    h("div", { class: "cv-card-foot cv-muted" }, h("span", { class: "cv-card-workers" }), h("span", {})));

  function drawCard(card, { counts, paused, workers, slots, pulse }) {
    const [head, bar, told, foot] = card.children;
    const present = Object.entries(counts).filter(([, count]) => count);
    const total = present.reduce((sum, [, count]) => sum + count, 0);
    memo(head.lastChild, paused, () => paused && h("span", { class: "cv-badge cv-warn" }, icon("paused"), "Paused"));
    memo(bar, counts, () => present.map(([state, count]) =>
      h("i", { class: `cv-part cv-is-${state}`, style: `flex-grow:${Math.max(count, total / 100)}` })));
    memo(told, counts, () => present.length ? present.map(([state, count]) =>
      h("span", { class: `cv-count cv-count-${state}`, title: LABELS[state] }, icon(state), count.toLocaleString("en")))
      : [h("span", { class: "cv-muted" }, "no jobs")]);
    const several = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
    const served = workers ? `${several(workers, "worker")}, ${several(slots, "slot")}` : "no worker";
    setText(foot.firstChild, [served, rateWords(pulse?.rate)].filter(Boolean).join(" · "));
    memo(foot.lastChild, pulse, () => pulse && sparkline(pulse));
  }

  return {
    nodes: [cards, more],
    draw() {
      const { cards: all, more: left } = page.part("queues");
      reconcile(cards, all, (card) => card.name, makeCard, drawCard);
      cards.hidden = !all.length;
      more.hidden = all.length > 0 && !left;
      if (left) advise(more, `and ${left.toLocaleString("en")} more queues`);
      else advise(more, "No queues yet. Make one, and add a job, with", 'await Queue("emails").add("send", {"to": "ada"})');
    },
  };
}

/** @param {import("./panel.js").Page} page */
export function makeQueues(page) {
  return makeTabs(page, { queues: [makeCards(page)], events: [makeEvents(page, { ofAll: true })] },
    { chosen: () => page.part("queues").tab, prefix: "cv-all", label: "Views of the store" });
}
