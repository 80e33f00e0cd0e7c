// The pure parts of the timeline.

import assert from "node:assert/strict";
import { test } from "node:test";

import { nextBar } from "conveyor/timeline.js";

test("arrow keys go from bar to bar, and stop at both ends", () => {
  assert.equal(nextBar(-1, "ArrowRight", 5), 0);
  assert.equal(nextBar(-1, "ArrowLeft", 5), 4);
  assert.equal(nextBar(1, "ArrowRight", 5), 2);
  assert.equal(nextBar(4, "ArrowDown", 5), 4);
  assert.equal(nextBar(0, "ArrowUp", 5), 0);
  assert.equal(nextBar(3, "Home", 5), 0);
  assert.equal(nextBar(3, "End", 5), 4);
});
