// What the kernel says of each part of a frame. A kernel in a browser says it as text: on its way
// what is null would get lost.

const TEXT = "json:";

/**
 * @param {{get: (name: string) => any}} model the widget's model
 * @returns {(name: string) => any} gives a part by its name
 */
export function makeParts(model) {
  /** @type {Map<string, {text: string, part: any}>} */
  const read = new Map();
  return (name) => {
    const text = model.get(name);
    if (typeof text !== "string" || !text.startsWith(TEXT)) return text;
    if (read.get(name)?.text !== text) {
      read.set(name, { text, part: JSON.parse(text.slice(TEXT.length)) });
    }
    return read.get(name)?.part;
  };
}
