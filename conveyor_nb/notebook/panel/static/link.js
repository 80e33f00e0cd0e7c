// The line to the kernel: what a page sends, what it hears, and whether anybody is there.

import { h, setText } from "./elements.js";

const BUSY_AFTER_MS = 300; // a click that got no answer for so long waits for a running cell
const HELLO_PATIENCE_MS = 1500; // a page that is just loading may take longer than a click
const CONFIRM_MS = 4000;
const ENDED = new Set(["restarting", "autorestarting", "terminating", "dead"]); // a kernel's status

// JupyterLab marks the view of a widget so, and mount.js what has no view
const DISCONNECTED = ".jupyter-widgets-disconnected, .cv-disconnected";

// all controls but those that do their work on the page alone
const NEEDS_KERNEL = ":is(button, input, select, textarea):not(.cv-copy, .cv-dismiss)";

const TEXTS = {
  live: "",
  busy: "Kernel busy: your click waits for the running cell",
  dead: "Disconnected: this is the last known state",
};

/**
 * @typedef {object} Link
 * @property {string} view by what the kernel knows this page
 * @property {HTMLElement} node says how it stands, if it does not just work
 * @property {(message: object, options?: {button?: HTMLElement | null, patience?: number}) => void} send
 * @property {(label: string, message: object | (() => object | null), options?: ButtonOptions) => HTMLElement} button
 * @property {(...given: Parameters<Link["button"]>) => HTMLElement | null} act a button that changes the queue: none where it is only shown
 * @property {() => boolean} isDead
 * @property {() => boolean} isHeld whether the page is kept as it is
 * @property {(frame: number) => boolean} skips whether a frame that comes now is not to be drawn
 * @property {(isHeld: boolean) => void} hold keeps the page as it is, or lets it go on
 * @property {(root: HTMLElement) => void} open tells the kernel that a page is there
 * @property {(frame: number) => void} drawn tells it which frame is on the page
 * @property {() => void} rest tells it that nobody sees the page: nothing is to be sent
 * @property {() => void} wake tells it that the page is seen again
 * @property {() => void} close
 */

/**
 * @typedef {object} ButtonOptions
 * @property {string} [kind] classes
 * @property {string} [confirm] what is asked before it is done
 * @property {string | null} [testid]
 * @property {string | null} [aria]
 * @property {string | null} [title]
 */

/**
 * @param {any} model the widget's model
 * @param {HTMLElement} el where the widget is on the page
 * @param {() => boolean} isReadOnly whether nothing is to be changed
 * @returns {Link}
 */
export function makeLink(model, el, isReadOnly) {
  const view = Math.random().toString(36).slice(2);
  /** @type {Map<number, HTMLElement | null>} */
  const pending = new Map(); // number of a message without an answer -> its button
  const node = h("span", { class: "cv-badge cv-warn cv-link", role: "status", "data-testid": "cv-link" });
  /** @type {HTMLElement | null} */
  let root = null;
  let sent = 0;
  let state = "live";
  let isHeld = false; // the page stays as it is
  let isWanted = false; // but for what a person asks for meanwhile
  let lastFrame = 0;

  // The kernel sends its next frame when it hears that this one is drawn: a slow page is never
  // flooded, and one that is held gets a single one.
  const answer = () => { if (state !== "dead") model.send({ do: "drawn", frame: lastFrame, view }); };

  function set(next) {
    state = next;
    const ended = model.get("ended");
    setText(node, TEXTS[state] || ended);
    if (!root) return;
    root.dataset.link = state;
    root.toggleAttribute("data-ended", Boolean(ended)); // what would change the queue is gone
    if (state === "dead") {
      const hadKeyboard = root.contains(document.activeElement);
      for (const control of root.querySelectorAll(NEEDS_KERNEL)) /** @type {any} */ (control).disabled = true;
      if (hadKeyboard) root.focus({ preventScroll: true });
    }
  }

  /** @type {Link["send"]} */
  function send(message, { button = null, patience = BUSY_AFTER_MS } = {}) {
    if (state === "dead" || button?.getAttribute("aria-disabled") === "true") return;
    const n = ++sent;
    try {
      model.send({ ...message, n, view });
    } catch (error) {
      console.warn("conveyor_nb: the kernel can't be reached", error);
      set("dead");
      return;
    }
    if (isHeld) {
      isWanted = true;
      answer();
    }
    pending.set(n, button);
    button?.setAttribute("aria-disabled", "true");
    setTimeout(() => pending.has(n) && state === "live" && set("busy"), patience);
  }

  function onMessage(message) {
    if (message.view !== view) return;
    pending.get(message.heard)?.removeAttribute("aria-disabled");
    pending.delete(message.heard);
    if (!pending.size && state === "busy") set("live");
  }

  /** @type {Link["button"]} */
  function button(label, message, { kind = "", confirm = "", testid = null, aria = null, title = null } = {}) {
    const made = h("button", {
      type: "button", class: `cv-button ${kind}`, "aria-label": aria, title, "data-testid": testid,
      onclick: () => {
        if (confirm && made.textContent !== confirm) {
          made.textContent = confirm;
          made.classList.add("cv-danger");
          setTimeout(() => {
            made.textContent = label;
            made.classList.remove("cv-danger");
          }, CONFIRM_MS);
          return;
        }
        const what = typeof message === "function" ? message() : message;
        if (what) send(what, { button: made });
      },
    }, label);
    if (testid === null && typeof message !== "function" && "do" in message) {
      made.dataset.testid = `cv-${message.do}`;
    }
    return made;
  }

  // Jupyter's widgets are told of a restart; that a kernel crashed or ended only the kernel says.
  const kernel = model.widget_manager?.kernel;
  const onEnded = () => set(state);
  const onDead = () => set("dead");
  const onStatus = (_, status) => ENDED.has(status) && onDead();
  const onLink = () => el.matches(DISCONNECTED) && onDead();

  return {
    view, node, send, button,
    act(...given) {
      if (isReadOnly()) return null;
      const made = button(...given);
      made.dataset.acts = "";
      return made;
    },
    isDead: () => state === "dead",
    isHeld: () => isHeld,
    skips(frame) {
      const isSkipped = isHeld && !isWanted;
      if (isSkipped) lastFrame = frame;
      root?.toggleAttribute("data-behind", isSkipped); // there is more to see than is seen
      return isSkipped;
    },
    hold(next) {
      isHeld = next;
      root?.toggleAttribute("data-held", isHeld);
      if (isHeld) return;
      answer();
      send({ do: "hello" }, { patience: HELLO_PATIENCE_MS }); // what came meanwhile was not drawn
    },
    open(over) {
      root = over;
      set(state);
      model.on("change:ended", onEnded);
      model.on("msg:custom", onMessage);
      model.on("comm_live_update", onLink);
      model.on("comm:close", onDead); // Python has let go of the panel
      kernel?.statusChanged?.connect(onStatus);
      kernel?.disposed?.connect(onDead);
      onLink();
      send({ do: "hello" }, { patience: HELLO_PATIENCE_MS });
    },
    drawn(frame) {
      lastFrame = frame;
      isWanted = false;
      answer();
    },
    rest() {
      if (state !== "dead") model.send({ do: "rest", view });
    },
    wake: () => send({ do: "hello" }, { patience: HELLO_PATIENCE_MS }),
    close() {
      model.off("change:ended", onEnded);
      model.off("msg:custom", onMessage);
      model.off("comm_live_update", onLink);
      model.off("comm:close", onDead);
      kernel?.statusChanged?.disconnect(onStatus);
      kernel?.disposed?.disconnect(onDead);
      send({ do: "bye" });
    },
  };
}
