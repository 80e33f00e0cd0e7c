// The pure parts of the workers' cards.

import assert from "node:assert/strict";
import { test } from "node:test";

import { rateWords, useWords } from "conveyor/worker-cards.js";

test("how much of its time a worker used is told by a few words", () => {
  assert.deepEqual([0, 0.004, 0.25, 1].map(useWords), ["idle", "under 1% in use", "25% in use", "100% in use"]);
  assert.deepEqual([0, 2.5, 12.4, 12_345].map(rateWords), ["", "2.5/s", "12/s", "12,345/s"]);
});
