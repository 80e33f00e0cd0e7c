// The pure parts of the filter for when jobs were added.

import assert from "node:assert/strict";
import { test } from "node:test";

import { instantOf, textOf } from "conveyor/range.js";

test("a date and a time are read in the zone of the page, and written so again", () => {
  const at = Date.UTC(2027, 0, 31, 23, 5, 9) / 1000;
  assert.equal(instantOf("2027-01-31T23:05:09", true), at);
  assert.equal(instantOf("2027-01-31T23:05", true), at - 9);
  assert.equal(textOf(at, true), "2027-01-31T23:05:09");
  for (const isUtc of [true, false]) assert.equal(instantOf(textOf(at, isUtc), isUtc), at);
  const local = new Date(2027, 0, 31, 23, 5, 9);
  assert.equal(textOf(local.getTime() / 1000, false), "2027-01-31T23:05:09");
});

test("what is no instant is none", () => {
  for (const text of ["", "soon", "2027-13-01T00:00"]) assert.equal(instantOf(text, true), null);
  assert.equal(textOf(null, true), "");
});
