// The groups of a queue: whose turn it is, and what waits and runs of each.

import { advise, h, icon, memo, reconcile, setText } from "./elements.js";

const COLUMNS = ["Turn", "Group", "Waiting", "Active", "Delayed", "Room"];

/** @param {import("./panel.js").Page} page */
export function makeGroups(page) {
  const grouped = (count) => count.toLocaleString("en");
  const limits = h("p", { class: "cv-group-limits", "data-testid": "cv-group-limits" });
  const turns = h("ol", { class: "cv-turns", "aria-label": "The next jobs by their groups", "data-testid": "cv-turns" });
  const rows = h("div", { role: "rowgroup", class: "cv-group-rows", "data-testid": "cv-groups" });
  const table = h("div", { class: "cv-groups", role: "table", "aria-label": "Groups" },
    h("div", { role: "rowgroup" }, h("div", { role: "row", class: "cv-group cv-columns" },
      ...COLUMNS.map((name) => h("span", { role: "columnheader" }, name)))), rows);
  const note = h("p", { class: "cv-empty", "data-testid": "cv-no-groups" });

  const nameOf = (id) => id ?? "no group";
  const makeRow = () => h("div", { role: "row", class: "cv-group", "data-testid": "cv-group" },
    ...COLUMNS.map(() => h("span", { role: "cell" })));

  function drawRow(node, group) {
    const { id, turn, waiting, active, delayed, max_size: most } = group;
    const [place, name, waits, runs, later, room] = node.children;
    setText(place, turn === null ? "–" : turn === 1 ? "next" : String(turn));
    node.classList.toggle("cv-is-next", turn === 1);
    memo(name, id, () => [h("span", { class: id === null ? "cv-muted" : "cv-name", title: nameOf(id) }, nameOf(id))]);
    memo(waits, [waiting, widest()], () => [
      h("span", { class: "cv-num" }, grouped(waiting)),
      h("i", { class: "cv-group-bar", "aria-hidden": "true", style: `--cv-share:${waiting / widest()}` })]);
    memo(runs, active, () => active ? [icon("active"), grouped(active)] : [h("span", { class: "cv-muted" }, "0")]);
    setText(later, delayed ? grouped(delayed) : "");
    setText(room, most === null ? "" : `${grouped(waiting)} of ${grouped(most)}`);
    room.classList.toggle("cv-count-failed", most !== null && waiting >= most);
  }

  const widest = () => Math.max(1, ...page.part("groups").rows.map((group) => group.waiting));

  return {
    nodes: [limits, turns, table, note],
    draw() {
      const { rows: groups, more, counted, turns: next, limits: told } = page.part("groups");
      table.hidden = groups.length === 0;
      limits.hidden = groups.length === 0;
      setText(limits, told.length ? `Each group: ${told.join(", ")}.` : "Groups are served in turn; the workers here set no limits for each.");
      turns.hidden = next.length === 0;
      memo(turns, next, () => next.map((id) => h("li", { class: "cv-turn", title: nameOf(id) }, nameOf(id))));
      reconcile(rows, groups, (group) => JSON.stringify(group.id), makeRow, drawRow);
      const notes = [more && `and ${grouped(more)} more groups`, counted && `counted among the first ${grouped(counted)} jobs of each state`];
      note.hidden = groups.length > 0 && !notes.some(Boolean);
      if (groups.length) advise(note, notes.filter(Boolean).join("; "));
      else advise(note, "No job of a group waits or runs. Add one with", 'await queue.add("send", group=Group("customer-1"))');
    },
  };
}
