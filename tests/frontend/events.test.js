// The pure parts of the event log.

import assert from "node:assert/strict";
import { test } from "node:test";

import { foldProgress } from "conveyor/events.js";

test("progress is one line until something else happens to its job", () => {
  const [went, ended] = ["job:progress", "job:completed"];
  const events = [[ended, "b"], [went, "a"], [went, "b"], [went, "a"], [went, "b"], [ended, "a"], [went, "a"]]
    .map(([type, id], n) => ({ n, type, id }));
  assert.deepEqual(foldProgress(events).map(({ n, folded }) => [n, folded]),
    [[0, 0], [1, 1], [2, 1], [5, 0], [6, 0]]);
  assert.equal(events[1].folded, undefined, "what came is left as it is");
});
