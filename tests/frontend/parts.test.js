// The parts of a frame, as objects and as text.

import assert from "node:assert/strict";
import { test } from "node:test";

import { makeParts } from "conveyor/parts.js";

test("a part is what was said of it, as it is or as text, which is read once", () => {
  const said = { tab: "jobs", head: { now: null }, jobs: 'json:{"rows": [null]}', detail: "json:null" };
  const part = makeParts({ get: (name) => said[name] });
  assert.equal(part("tab"), "jobs");
  assert.equal(part("head"), said.head);
  assert.deepEqual(part("jobs"), { rows: [null] });
  assert.equal(part("jobs"), part("jobs"));
  assert.equal(part("detail"), null);

  said.jobs = 'json:{"rows": []}';
  assert.deepEqual(part("jobs"), { rows: [] });
});
