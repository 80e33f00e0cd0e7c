// The flows of a queue: each with a ring of progress, the one that is open as a tree.

import { build, makeBelt } from "./belt.js";
import { advise, h, icon, memo, reconcile, setText, setTitle, stateOf } from "./elements.js";

/** @param {import("./panel.js").Page} page */
export function makeFlows(page) {
  const list = h("div", { class: "cv-flows", role: "list", "aria-label": "Flows", "data-testid": "cv-flows" });
  const empty = h("p", { class: "cv-empty", "data-testid": "cv-no-flows" });
  const grouped = (count) => count.toLocaleString("en");
  const belt = makeBelt(page, { read: () => page.part("flow_belt"), ask: "flow_belt", testid: "cv-flow-belt" });
  const sheet = h("div", { class: "cv-flow-picture" }, ...belt.nodes); // in the flow that is open

  const told = ({ children, done, failed }) => [
    h("span", { class: "cv-num cv-muted" }, `${grouped(done)} of ${grouped(children)}`),
    failed > 0 && h("span", { class: "cv-num cv-count-failed" }, `${grouped(failed)} failed`)];

  const makeFlow = () => h("div", { class: "cv-flow-item", role: "listitem", "data-testid": "cv-flow-item" },
    h("button", { type: "button", class: "cv-flow-head", "data-testid": "cv-flow-open" }), h("div", {}),
    h("div", { class: "cv-flow-tree", role: "list", "aria-label": "Jobs of the flow" }));

  function drawFlow(node, flow) {
    const [head, place, tree] = node.children;
    const { open, tree: rows } = page.part("flows");
    const isOpen = open === flow.key;
    head.setAttribute("aria-expanded", String(isOpen));
    head.onclick = () => page.link.send(isOpen ? { do: "open_flow" } : { do: "open_flow", id: flow.id, queue: flow.queue },
      { button: head });
    memo(head, [flow.ring, flow.name, flow.state, flow.done, flow.failed, flow.children, isOpen], () => [
      h("span", { class: "cv-flow-fold", "aria-hidden": "true" }, isOpen ? "▾" : "▸"),
      flow.ring && build(flow.ring),
      h("span", { class: "cv-name", title: flow.name }, flow.name),
      h("span", { class: "cv-id", title: flow.id }, flow.short_id),
      flow.foreign && h("span", { class: "cv-badge" }, `in ${flow.queue}`),
      h("span", { class: "cv-gap" }), ...told(flow),
      h("span", { class: "cv-flow-state" }, icon(flow.state), stateOf(flow.state)), h("time", { class: "cv-muted" })]);
    page.setAge(head.lastChild, flow.at, flow.at_word);
    if (isOpen && sheet.parentNode !== place) {
      belt.renew();
      place.append(sheet);
    } else if (!isOpen && sheet.parentNode === place) sheet.remove();
    if (isOpen) belt.draw();
    tree.hidden = !isOpen;
    reconcile(tree, isOpen ? rows : [], (row) => row.key, makeRow, drawRow);
  }

  const makeRow = ({ more }) => more
    ? h("p", { class: "cv-flow-row cv-muted", role: "listitem", "data-testid": "cv-flow-row-more" })
    : h("div", { class: "cv-flow-row", role: "listitem", "data-testid": "cv-flow-row" },
      h("span", { class: "cv-flow-twig" }), h("span", { class: "cv-flow-leaf" }), h("span", { class: "cv-flow-told" }),
      h("span", { class: "cv-branch-text" }), h("time", { class: "cv-muted" }));

  function drawRow(node, row) {
    node.style.setProperty("--cv-depth", String(Math.min(row.depth, 12)));
    if (row.more) {
      setText(node, `… ${grouped(row.more)} more`);
      return;
    }
    const [twig, leaf, tally, text, time] = node.children;
    node.dataset.state = row.state;
    node.classList.toggle("cv-selected", page.part("detail")?.id === row.id);
    memo(twig, [row.folded, row.children > 0, row.name], () => row.children > 0 && h("button", {
      type: "button", class: "cv-flow-fold", "aria-expanded": String(!row.folded), "data-testid": "cv-flow-fold",
      "aria-label": `${row.folded ? "Unfold" : "Fold"} ${row.name}`,
      onclick: () => page.link.send({ do: "fold", id: row.id, queue: row.queue }),
    }, row.folded ? "▸" : "▾"));
    memo(leaf, [row.id, row.name, row.state, row.queue, row.foreign], () => [
      icon(row.state),
      h("button", { type: "button", class: "cv-open", title: `${row.name}  ${row.id}: ${stateOf(row.state)}`,
        "data-testid": "cv-flow-row-open", onclick: () => page.openJob(row.id, row.queue) }, row.name),
      h("span", { class: "cv-id", title: row.id }, row.short_id),
      row.foreign && h("span", { class: "cv-badge" }, row.queue)]);
    memo(tally, [row.ring, row.done, row.failed, row.children], () => row.ring && [build(row.ring), ...told(row)]);
    setText(text, row.text);
    setTitle(text, row.text);
    page.setAge(time, row.at, row.at_word);
  }

  return {
    nodes: [list, empty],
    draw() {
      const { rows, more } = page.part("flows");
      reconcile(list, rows, (flow) => flow.key, makeFlow, drawFlow);
      list.hidden = !rows.length;
      empty.hidden = rows.length > 0 && !more;
      if (more) advise(empty, `and ${grouped(more)} more flows`);
      else advise(empty, "No flows here. Add one with", 'await FlowProducer().add(FlowJob("book", "books", children=[...]))');
    },
  };
}
