// A button that puts a text on the clipboard, and says whether it did.

import { h } from "./elements.js";

const SAID_MS = 1500;

/**
 * @param {string} label
 * @param {() => string} text
 * @param {{testid: string, title?: string}} options
 */
export function copyButton(label, text, { testid, title = "" }) {
  const made = h("button", {
    type: "button", class: "cv-button cv-copy", title, "data-testid": testid,
    onclick: async () => {
      const done = await copy(text(), made);
      made.textContent = done ? "Copied" : "Can't copy here";
      setTimeout(() => { made.textContent = label; }, SAID_MS);
    },
  }, label);
  return made;
}

/** Whether it worked: a page that came over plain http from elsewhere has no clipboard. */
async function copy(text, beside) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = h("textarea", { style: "position:fixed;opacity:0", "aria-hidden": "true" });
    area.value = text;
    beside.after(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    beside.focus();
    return done;
  }
}
