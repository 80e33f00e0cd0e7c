// Other people's text: the page makes it fit to be shown just as Python does.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { fit } from "conveyor/text.js";

const CASES = JSON.parse(readFileSync(new URL("./texts.json", import.meta.url), "utf8"));

test("hostile text is shown as Python shows it", () => {
  assert.ok(CASES.length >= 60);
  for (const [text, shown] of CASES) assert.equal(fit(text), shown);
});

test("to make it fit again changes nothing", () => {
  for (const [text] of CASES) assert.equal(fit(fit(text)), fit(text));
});
