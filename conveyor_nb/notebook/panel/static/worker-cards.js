// The workers of a queue, each a card: its slots and what runs there, how much of their time was in
// use over the last second, what it did, and buttons to manage it.

import { advise, capital, h, icon, memo, reconcile, setText } from "./elements.js";

const MOST_FREE = 12;

/** How much of its slots' time a worker used, in words. @param {number} share from 0 to 1 */
export function useWords(share) {
  if (share <= 0) return "idle";
  return share < 0.01 ? "under 1% in use" : `${Math.round(share * 100)}% in use`;
}

/** A rate, in words; nothing if there is none. @param {number} rate settled jobs a second */
export const rateWords = (rate) => !rate ? "" : rate < 10 ? `${rate}/s` : `${Math.round(rate).toLocaleString("en")}/s`;

/** @param {import("./panel.js").Page} page */
export function makeWorkerCards(page) {
  const node = h("div", { class: "cv-crew", role: "list", "aria-label": "Workers", "data-testid": "cv-crew" });
  const empty = h("p", { class: "cv-empty" });
  advise(empty, "No worker serves this queue yet. Write one:", "@queue.worker(concurrency=2)");
  const more = h("p", { class: "cv-empty", "data-testid": "cv-crew-more" });

  const makeCard = () => h("div", { class: "cv-mate", role: "listitem", "data-testid": "cv-mate" },
    h("div", { class: "cv-mate-head" }), h("div", { class: "cv-mate-facts" }),
    h("div", { class: "cv-use" }, h("i", {}), h("span", {}), h("span", { class: "cv-step" })), h("div", { class: "cv-places" }));

  const stepper = ({ key, name, concurrency, wanted }) => [
    wanted > 1 ? page.link.act("−", { do: "resize_worker", worker: key, slots: wanted - 1 },
      { testid: "cv-fewer", aria: `one slot fewer for ${name}` }) : null,
    h("span", { class: "cv-num", "data-testid": "cv-slot-count" }, `${concurrency} ${concurrency === 1 ? "slot" : "slots"}`),
    page.link.act("+", { do: "resize_worker", worker: key, slots: wanted + 1 },
      { testid: "cv-more", aria: `one slot more for ${name}` })];

  const age = (at, word) => {
    const time = h("time", {});
    page.setAge(time, at, word);
    return time;
  };

  const runs = (since) => {
    const time = h("time", { "data-runs": "" });
    page.setAge(time, since, "started");
    return time;
  };

  const taken = (slot) => h("button", {
    type: "button", class: "cv-place cv-taken", title: slot.id, "data-testid": "cv-place",
    onclick: () => page.openJob(slot.id),
  }, h("b", {}, slot.name), h("span", { class: "cv-muted" }, slot.end),
    slot.attempt > 1 ? h("span", { class: "cv-muted" }, `↺${slot.attempt}`) : null,
    slot.progress > 0 ? h("span", { class: "cv-num" }, `${Math.round(slot.progress)}%`) : null,
    slot.since ? runs(slot.since) : null);

  function drawCard(card, worker) {
    const { name, version, status, can, held, concurrency, here } = worker;
    const [head, facts, use, places] = card.children;
    card.dataset.status = worker.vanished ? "vanished" : status;
    memo(head, [name, version, status, can, worker.vanished, worker.told], () => [
      icon(status === "stopping" ? "paused" : status),
      h("span", { class: "cv-name", title: name }, name),
      version && h("span", { class: "cv-muted" }, `version ${version}`),
      h("span", { class: "cv-status" }, worker.vanished ? "vanished" : status),
      worker.told && h("span", { class: "cv-told", "data-testid": "cv-mate-told" }, worker.told),
      h("span", { class: "cv-gap" }),
      ...can.map((what) => page.link.act(capital(what), { do: `${what}_worker`, worker: worker.key },
        { testid: `cv-mate-${what}`, aria: `${what} worker ${name}` }))]);
    const plus = page.part("worker_cards").is_all ? "" : "+";
    memo(facts, [worker.handler, worker.since, here || worker.seen, worker.done, worker.failed, plus, held], () => [
      h("span", { "data-testid": "cv-mate-done" }, `${worker.done.toLocaleString("en")}${plus && worker.done ? plus : ""} done`),
      h("span", { class: worker.failed ? "cv-bad" : "" }, `${worker.failed.toLocaleString("en")} failed`),
      worker.since && h("span", {}, "started ", age(worker.since, "started")),
      worker.handler && h("span", { "data-testid": "cv-mate-handler" }, worker.handler),
      !here && worker.seen && h("span", {}, "another process's, last seen ", age(worker.seen, "last seen")),
      held > 0 && h("span", { class: "cv-bad" }, `${held} held by handlers that did not stop`)]);
    const [bar, words, step] = /** @type {HTMLElement[]} */ ([...use.children]);
    bar.style.setProperty("--cv-share", String(worker.use));
    setText(words, [useWords(worker.use), rateWords(worker.rate)].filter(Boolean).join(" · "));
    memo(step, [concurrency, worker.wanted, worker.resizable], () => worker.resizable ? stepper(worker)
      : h("span", { class: "cv-num" }, `${concurrency} ${concurrency === 1 ? "slot" : "slots"}`));
    words.title = "Share of its slots' time in use over the last second";
    const free = status === "running" ? Math.min(MOST_FREE, concurrency) - worker.slots.length : 0;
    memo(places, [worker.slots, worker.more, free], () => [
      ...worker.slots.map(taken),
      ...Array.from({ length: Math.max(0, free) }, () => h("span", { class: "cv-place" }, "free")),
      worker.more > 0 && h("span", { class: "cv-place" }, `+${worker.more} more`)]);
  }

  return {
    nodes: [empty, node, more],
    draw() {
      const { cards, others, lost } = page.part("worker_cards");
      node.hidden = !cards.length;
      empty.hidden = cards.length > 0;
      reconcile(node, cards, (worker) => worker.key, makeCard, drawCard);
      more.hidden = !others && !lost.length;
      memo(more, [others, lost], () => [others ? `and ${others} more workers. ` : "",
        ...(lost.length ? ["Held by workers that are gone, until their locks end: ", ...lost.map(taken)] : [])]);
    },
  };
}
