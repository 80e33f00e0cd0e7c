// When jobs were added that are looked for: within some time, or from one instant to another.

import { h, setText } from "./elements.js";

const WITHIN = {
  "": "any time", "1m": "in the last minute", "10m": "in the last 10 minutes", "1h": "in the last hour",
  "1d": "in the last day", "1w": "in the last week",
};
const BETWEEN = "between";
const SECOND = 0.999999; // "to" a second means to its end: jobs are added at microseconds

/**
 * The instant of what stands in a field for a date and a time, in seconds; nothing if it is empty.
 * @param {string} text
 * @param {boolean} isUtc whether it is read in UTC, and not in the zone of this browser
 */
export function instantOf(text, isUtc) {
  const at = Date.parse(isUtc ? `${text}Z` : text) / 1000;
  return text && Number.isFinite(at) ? at : null;
}

/**
 * What stands in such a field for an instant.
 * @param {number | null} at
 * @param {boolean} isUtc
 */
export function textOf(at, isUtc) {
  if (at === null) return "";
  const zone = isUtc ? "UTC" : undefined;
  const when = new Date(at * 1000);
  return `${when.toLocaleDateString("en-CA", { timeZone: zone })}T${when.toLocaleTimeString("en-GB", { timeZone: zone })}`;
}

/**
 * @param {import("./panel.js").Page} page
 * @param {() => void} changed called when something else is looked for
 * @param {(props: object) => HTMLInputElement} field makes a field that is typed into
 */
export function makeRange(page, changed, field) {
  const isUtc = () => page.clock.stands();
  const said = h("span", { class: "cv-caption cv-range-said", role: "status", "data-testid": "cv-filter-range-said" });
  const within = /** @type {HTMLSelectElement} */ (h("select", {
    class: "cv-select cv-input", "data-testid": "cv-filter-added",
    onchange: () => { show(); changed(); if (within.value === BETWEEN) since.focus(); },
  }, ...Object.entries({ ...WITHIN, [BETWEEN]: "from … to …" }).map(
    ([value, label]) => h("option", { value }, label))));
  const [since, until] = ["since", "until"].map((what) => field({
    type: "datetime-local", step: "1", max: "9999-12-31T23:59:59", "data-testid": `cv-filter-${what}` }));
  const zones = [since, until].map(() => h("span", { class: "cv-caption" }));
  const [first, last] = [since, until].map((input, place) => h("label", { class: "cv-filter", hidden: true }, zones[place], input));

  /** What is typed; an instant that a page can't read is none. */
  function typed() {
    if (within.value !== BETWEEN) return { grace: within.value, since: null, until: null };
    const to = instantOf(until.value, isUtc());
    return { grace: "", since: instantOf(since.value, isUtc()), until: to === null ? null : to + SECOND };
  }

  /** @param {HTMLInputElement} input @param {number | null} at */
  function fill(input, at) {
    const text = textOf(at, isUtc());
    if (input.value !== text) input.value = text;
  }

  /** Show what is needed, and say what is wrong with it. */
  function show() {
    const isBetween = within.value === BETWEEN;
    first.hidden = last.hidden = !isBetween;
    const { since: from, until: to } = typed();
    const isWrong = from !== null && to !== null && to < from;
    setText(said, isWrong ? "\"To\" is before \"from\": no job can fit." : "");
    for (const input of [since, until]) input.setAttribute("aria-invalid", String(isWrong));
    return !isWrong;
  }

  return {
    nodes: [h("label", { class: "cv-filter" }, h("span", { class: "cv-caption" }, "Added"), within), first, last, said],
    typed,
    isRight: show,
    clear() {
      for (const input of [within, since, until]) input.value = "";
      show();
    },
    /** @param {{added: string, since: number | null, until: number | null}} filter */
    draw(filter) {
      zones.forEach((zone, place) => setText(zone, `${place ? "To" : "From"} (${page.clock.zone()})`));
      const isSet = filter.since !== null || filter.until !== null;
      if (isSet) within.value = BETWEEN;
      else if (within.value !== BETWEEN || filter.added) within.value = filter.added;
      if (isSet) {
        fill(since, filter.since);
        fill(until, filter.until === null ? null : filter.until - SECOND);
      }
      show();
    },
  };
}
