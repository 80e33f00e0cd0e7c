// How a picture keeps its height.

import assert from "node:assert/strict";
import { test } from "node:test";

import { makeHeights } from "conveyor/narrow.js";

test("a picture keeps its height until it is laid out anew", () => {
  const heights = makeHeights();
  assert.deepEqual([heights.of(920, 200), heights.of(920, 180), heights.of(920, 240)], [200, 200, 240]);
  assert.deepEqual([heights.of(380, 500), heights.of(380, 400)], [500, 500]);
  assert.equal(heights.of(920, 210), 210, "also if a picture of before was still on its way");
  heights.forget();
  assert.equal(heights.of(920, 90), 90);
});
