// The pure parts of keeping the keyboard's place, and of what is said aloud.

import assert from "node:assert/strict";
import { test } from "node:test";

import { newsOf } from "conveyor/aloud.js";
import { nearest } from "conveyor/focus.js";

const queue = (changes = {}, counts = {}) => ({
  name: "emails", paused: false, ...changes,
  counts: { waiting: 0, active: 0, delayed: 0, completed: 0, failed: 0, "waiting-children": 0, ...counts },
});

test("the nearest of several stands where one was, or is the last", () => {
  assert.deepEqual([nearest(0, 3), nearest(2, 3), nearest(5, 3), nearest(-1, 3)], [0, 2, 2, 0]);
});

test("what changes is said in a few words", () => {
  const before = queue({}, { waiting: 1_200 });
  assert.equal(newsOf(before, queue({}, { waiting: 100, completed: 1_100 })), "1,100 of 1,200 done");
  assert.equal(newsOf(before, queue({ paused: true }, { waiting: 1_200 })), "The queue is paused");
  assert.equal(newsOf(before, queue({}, { waiting: 1_198, failed: 2 })), "2 more failed. 2 of 1,200 done");
  assert.equal(newsOf(before, queue({}, { completed: 1_199, failed: 1 })),
    "1 more failed. All is done: 1,199 completed, 1 failed");
  assert.equal(newsOf(queue({ paused: true }), queue()), "The queue goes on");
});

test("of what is the same, of jobs that only come and of another queue nothing is said", () => {
  assert.equal(newsOf(queue(), queue()), "");
  assert.equal(newsOf(queue(), queue({}, { waiting: 3, active: 2 })), "");
  assert.equal(newsOf(queue(), queue({ name: "images", paused: true }, { failed: 3 })), "");
  assert.equal(newsOf(queue({}, { completed: 5, waiting: 2 }), queue({}, { waiting: 2 })), "", "cleaned");
});
