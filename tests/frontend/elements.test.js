// The pure parts of the front end, under Node's own test runner.

import assert from "node:assert/strict";
import { test } from "node:test";

import { LABELS, SHAPES, capital } from "conveyor/elements.js";
import { faultOfJson } from "conveyor/form.js";
import { pageOf, pageText } from "conveyor/pager.js";
import { span, storeClock } from "conveyor/time.js";

test("a duration takes a few characters, whatever its size", () => {
  const texts = [0, 0.0004, 0.25, 2.04, 59.4, 61, 5_400, 172_800, -3].map(span);
  assert.deepEqual(texts, ["0ms", "0ms", "0.3s", "2.0s", "59s", "1m", "2h", "2d", "3.0s"]);
});

test("a clock that stands still shows the same instant for ever, in UTC", () => {
  const clock = storeClock(() => ({ now: 1_767_225_600, speed: 0 }));
  assert.equal(clock.now(), 1_767_225_600);
  assert.equal(clock.text(1_767_225_600, true), "2026-01-01 00:00:00");
  assert.equal(clock.ago(1_767_225_590), "10s ago");
  assert.equal(clock.ago(1_767_225_660), "in 1m");
});

test("a clock goes on from the frame that came last", () => {
  let now = 100;
  const clock = storeClock(() => ({ now, speed: 60 }));
  const before = clock.now();
  assert.ok(before >= 100);
  now = 1_000;
  clock.arrived();
  assert.ok(clock.now() >= 1_000 && clock.now() - 1_000 < before - 100 + 60);
});

test("each state has a word and a shape of its own", () => {
  const states = Object.keys(LABELS).filter(Boolean);
  assert.equal(new Set(states.map((state) => SHAPES[state])).size, states.length);
  assert.equal(capital("retry"), "Retry");
});

test("a page is told by its rows, and found by its number", () => {
  assert.equal(pageText(10, 10, 1_240), "11–20 of 1,240");
  assert.equal(pageText(0, 3, 3, true), "1–3 of 3 found");
  assert.equal(pageText(0, 0, 0), "");
  assert.deepEqual(["1", " 3 ", "99", "-2", "", "x"].map((text) => pageOf(text, 5)), [0, 2, 4, 0, null, null]);
});

test("what is typed is JSON, nothing, or told what is wrong with it", () => {
  assert.deepEqual(["", "  ", "3", '{"to": ["ada"]}'].map(faultOfJson), ["", "", "", ""]);
  for (const text of ["{", "{to: 1}", "'ada'", "[1,]"]) assert.match(faultOfJson(text), /^Not JSON yet: ./);
});
