// The little chart of the last minute.

import assert from "node:assert/strict";
import { test } from "node:test";

import { barsPath, pulseWords } from "conveyor/pulse.js";

test("each second is a bar, none is one of nothing, and few among many are seen", () => {
  assert.equal(barsPath([0, 10, 1000], 1000, 13, -13), "M2 13h1.6v-1h-1.6zM4 13h1.6v-13h-1.6z");
  assert.equal(barsPath([1], 1, 14, 7), "M0 14h1.6v7h-1.6z");
  assert.equal(barsPath([], 1, 14, 7), "");
});

test("it says what it shows", () => {
  assert.equal(pulseWords({ done: [0, 1200, 34], failed: [0, 0, 2] }), "In the last minute: 1,234 completed, 2 failed");
});
