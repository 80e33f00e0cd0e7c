// The head of a panel: the queue's name and state, what there is to say, and the way back.

import { h, icon, memo, setAttribute, setText } from "./elements.js";

/** @param {import("./panel.js").Page} page */
export function makeHead(page) {
  const back = page.link.button("‹ All queues", { do: "queue", queue: "" },
    { kind: "cv-quiet-text", testid: "cv-back" });
  const others = h("select", {
    class: "cv-select cv-switch", "aria-label": "Show another queue", "data-testid": "cv-switch",
    onchange: () => page.link.send({ do: "queue", queue: others.value }),
  });
  const title = h("h3", { class: "cv-title", "data-testid": "cv-title" });
  const badges = h("span", { class: "cv-badges", "data-testid": "cv-badges" });
  const pauseSlot = h("span", {});
  const hold = h("button", {
    type: "button", class: "cv-button cv-quiet-text cv-hold-view", "aria-pressed": "false",
    "data-testid": "cv-hold-view",
    title: "Keep this view as it is to read it; the jobs go on",
    onclick: () => {
      page.link.hold(!page.link.isHeld());
      hold.setAttribute("aria-pressed", String(page.link.isHeld()));
      setText(hold, page.link.isHeld() ? "Go on" : "Hold");
    },
  }, "Hold");
  const notice = h("p", { class: "cv-line cv-notice", role: "status", "data-testid": "cv-notice" });
  const top = h("div", { class: "cv-head" },
    back, others, title, badges, h("span", { class: "cv-gap" }), page.link.node, hold, pauseSlot);
  let dismissed = 0;

  function drawNotice() {
    const said = page.part("notice");
    memo(notice, [said, dismissed], () => said && said.n !== dismissed && [
      h("span", {}, said.text),
      h("button", {
        type: "button", class: "cv-button cv-quiet cv-dismiss", "aria-label": "Dismiss this message",
        "data-testid": "cv-dismiss",
        onclick: () => { dismissed = said.n; page.keepFocus(drawNotice); },
      }, "×"),
    ]);
  }

  function drawStore({ store, read_only: readOnly }) {
    setText(title, "Queues");
    page.root.setAttribute("aria-label", "Queues");
    memo(badges, [store, readOnly], () => [
      h("span", { class: "cv-badge", "data-testid": "cv-store" }, store), readOnly && lookOnly()]);
    memo(pauseSlot, "", () => []);
  }

  const lookOnly = () => h("span", { class: "cv-badge", "data-testid": "cv-read-only" }, "read-only");

  function drawQueue({ name, paused, paused_names: names, speed, now, store, read_only: readOnly }) {
    setText(title, name);
    setAttribute(page.root, "aria-label", `Queue ${name}`);
    memo(badges, [paused, names, speed, speed === 0 ? now : 0, store, readOnly], () => [
      store && h("span", {
        class: "cv-badge", "data-testid": "cv-which-store",
        title: "Another panel shows a queue of this name in another store",
      }, store),
      paused && h("span", { class: "cv-badge cv-warn", "data-testid": "cv-paused" },
        icon("paused"), "Paused"),
      ...names.map((job) => h("span", { class: "cv-badge cv-warn" }, icon("paused"), job)),
      speed !== 1 && h("span", { class: "cv-badge", title: "The store's own clock" },
        speed === 0 ? page.clock.text(now, true) : `clock ×${speed}`),
      readOnly && lookOnly(),
    ]);
    memo(pauseSlot, [paused, readOnly], () => [paused
      ? page.link.act("Resume queue", { do: "resume" }, { kind: "cv-primary" })
      : page.link.act("Pause queue", { do: "pause" })]);
  }

  return {
    nodes: [top, notice],
    draw() {
      const isOfAll = page.part("tab") === null;
      back.hidden = isOfAll || page.part("queues") === null;
      const names = isOfAll ? [] : page.part("head").queues ?? [];
      others.hidden = names.length < 2;
      memo(others, names, (all) => all.map((name) => h("option", { value: name }, name)));
      if (document.activeElement !== others) others.value = page.part("head").name;
      if (isOfAll) drawStore(page.part("queues"));
      else drawQueue(page.part("head"));
      drawNotice();
    },
  };
}
