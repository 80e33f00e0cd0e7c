// The slider of a tape: how fast it plays, and what it asks for while answers are under way.

import assert from "node:assert/strict";
import { test } from "node:test";

import { makeWish, stride } from "conveyor/replay.js";

test("a whole tape plays in as many ticks, however long it is", () => {
  assert.equal(stride(0), 1);
  assert.equal(stride(60), 1);
  assert.equal(stride(61), 2);
  assert.equal(stride(10_000), 167);
});

test("what is asked for in between is left out, but for the last", () => {
  const sent = [];
  const wish = makeWish((place) => sent.push(place));
  wish.want(3, 0);
  wish.want(4, 0);
  wish.want(7, 0);
  assert.deepEqual(sent, [3]);
  assert.equal(wish.place(0), 7);
  wish.arrived(3);
  assert.deepEqual(sent, [3, 7]);
  wish.arrived(7);
  assert.equal(wish.place(7), 7);
  wish.want(7, 7);
  assert.deepEqual(sent, [3, 7], "it is there");
  wish.arrived(7);
  wish.want(2, 7);
  assert.deepEqual(sent, [3, 7, 2]);
});
