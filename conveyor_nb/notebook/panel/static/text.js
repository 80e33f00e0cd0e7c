// Other people's text, made fit to be shown: what `core/values/text.py` does, for what goes to the
// page as it is. Whatever would not be seen, or would turn round what stands beside it, is written
// as an escape.

const MOST_MARKS = 8; // over or under one letter

// controls (but line breaks and tabs), lone surrogates, what is not seen, what turns the direction
const UNFIT = new RegExp("[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u180e\\u200b\\u200e"
  + "\\u200f\\u2028-\\u202e\\u2060-\\u2065\\u206a-\\u206f\\ufeff\\ufff9-\\ufffb"
  + "\\ud800-\\udfff\\u{e0000}-\\u{e007f}]", "gu");
const ISOLATES = /[\u2066-\u2069]/gu;
const TERMINAL = new RegExp("\\u001b\\[[0-?]*[ -/]*[@-~]", "g"); // colours and moves of its cursor
const PILE = new RegExp(`([\\p{Mn}\\p{Me}]{${MOST_MARKS}})[\\p{Mn}\\p{Me}]+`, "gu");
const PLAIN = /^[\n\t -~]*$/;

const escape = (character) => {
  const code = /** @type {number} */ (character.codePointAt(0));
  if (code < 0x100) return `\\x${code.toString(16).padStart(2, "0")}`;
  return code < 0x10000 ? `\\u${code.toString(16).padStart(4, "0")}` : `\\U${code.toString(16).padStart(8, "0")}`;
};

/** Whether each isolate in a text is closed there, so that what follows is as it was. */
function isBalanced(text) {
  let depth = 0;
  for (const [one] of text.matchAll(ISOLATES)) {
    depth += one === "\u2069" ? -1 : 1;
    if (depth < 0) return false;
  }
  return depth === 0;
}

/**
 * A text whose every character is harmless; line breaks and tabs stay.
 * @param {string} text
 */
export function fit(text) {
  if (PLAIN.test(text)) return text;
  const shown = text.replace(TERMINAL, "").replace(UNFIT, escape).replace(PILE, "$1…");
  return isBalanced(shown) ? shown : shown.replace(ISOLATES, escape);
}
