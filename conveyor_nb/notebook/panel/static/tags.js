// What a job belongs to, as tags in its row: its flow, its schedule, its group.

import { h, icon, memo } from "./elements.js";

const SHAPES_OF = { flow: "waiting-children", schedule: "delayed", group: "group" };
const TITLES = { flow: "Part of a flow", schedule: "A run of a schedule", group: "Of a group" };

/**
 * @param {HTMLElement} node
 * @param {[keyof typeof SHAPES_OF, string][]} tags each a kind and a text
 */
export function drawTags(node, tags) {
  memo(node, tags, (all) => all.map(([kind, text]) => h("span", {
    class: "cv-tag", title: `${TITLES[kind]}: ${text}`, "data-testid": `cv-tag-${kind}`,
  }, icon(SHAPES_OF[kind]), text)));
}
