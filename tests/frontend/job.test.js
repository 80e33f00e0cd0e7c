// The pure parts of one job's view.

import assert from "node:assert/strict";
import { test } from "node:test";

import { foldForeign } from "conveyor/attempts.js";
import { shortId } from "conveyor/elements.js";
import { stretches } from "conveyor/life.js";
import { preview } from "conveyor/tree.js";

test("a long id keeps its end, which tells it from others", () => {
  assert.equal(shortId("emails-1", 20), "emails-1");
  assert.equal(shortId("emails-000000000042", 10), "ema…000042");
});

test("a folded container says what is in it, in short", () => {
  const leaf = (text) => ({ kind: "text", text });
  const tree = { kind: "dict", count: 2, parts: [["to", { kind: "list", count: 1, parts: [["0", leaf("ada")]] }], ["n", leaf("3")]] };
  assert.equal(preview(tree), "{to: […], n: 3}");
  const long = { kind: "list", count: 900, parts: [["0", leaf("x".repeat(50))], ["1", leaf("y".repeat(50))]] };
  assert.equal(preview(long), `[${"x".repeat(50)}, …] 900`);
});

test("a life is stretches of waiting and of work", () => {
  const life = [["added", 0], ["active", 2], ["failed", 3], ["active", 8]].map(([kind, at]) => ({ kind, at }));
  const told = stretches(life, "active", 10).map(({ kind, from, to }) => `${kind} ${from}-${to}`);
  assert.deepEqual(told, ["waiting 0-2", "failed 2-3", "waiting 3-8", "active 8-10"]);
  assert.equal(stretches([...life, { kind: "completed", at: 9 }], "completed", 10).at(-1).kind, "completed");
  const back = [["added", 0], ["active", 2], ["put back", 3]].map(([kind, at]) => ({ kind, at }));
  assert.deepEqual(stretches(back, "waiting", 4).map(({ kind }) => kind), ["waiting", "put back", "waiting"]);
  assert.deepEqual(stretches([{ kind: "added", at: 0 }, { kind: "due", at: 9 }], "delayed", 1)[0].kind, "delayed");
});

test("runs of other people's frames are folded, if there is anything of one's own", () => {
  const [own, other, text] = [{ where: "Cell In[1]", own: true }, { where: "json", own: false }, { text: "E" }];
  assert.deepEqual(foldForeign([own, other, other, text]), [own, { frames: [other, other] }, text]);
  assert.deepEqual(foldForeign([other, text]), [other, text]);
});
