// The pure parts of pointing at a picture.

import assert from "node:assert/strict";
import { test } from "node:test";

import { nextPart } from "conveyor/pointing.js";

test("arrow keys go from part to part, and stop at both ends", () => {
  assert.equal(nextPart(-1, "ArrowRight", 5), 0);
  assert.equal(nextPart(-1, "ArrowLeft", 5), 4);
  assert.equal(nextPart(1, "ArrowRight", 5), 2);
  assert.equal(nextPart(4, "ArrowDown", 5), 4);
  assert.equal(nextPart(0, "ArrowUp", 5), 0);
  assert.equal(nextPart(3, "Home", 5), 0);
  assert.equal(nextPart(3, "End", 5), 4);
});
