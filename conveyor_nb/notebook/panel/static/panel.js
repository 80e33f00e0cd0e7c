// The front end of a queue's panel. Python holds the state and sends frames; this file draws them
// and sends back what was clicked. Whatever a job carries goes into the page as text nodes only.

const BUSY_AFTER_MS = 300; // a click that got no answer for so long waits for a running cell
const HELLO_PATIENCE_MS = 1500; // a page that is just loading may take longer than a click
const CONFIRM_MS = 4000;
const EVENT_ROWS = 200;
const ENDED = new Set(["restarting", "autorestarting", "terminating", "dead"]); // a kernel's status

function render({ model, el }) {
  const view = Math.random().toString(36).slice(2);
  const pending = new Map(); // number of a message without an answer -> its button
  let sent = 0;
  let link = "live";
  let received = performance.now();
  let events = [];
  let held = false;
  let unseen = 0;
  let dismissed = 0;
  let scrollTo = null;

  // -- talking to the kernel ------------------------------------------------------------------

  function send(message, { button = null, patience = BUSY_AFTER_MS } = {}) {
    if (link === "dead" || button?.getAttribute("aria-disabled") === "true") return;
    const n = ++sent;
    try {
      model.send({ ...message, n, view });
    } catch (error) {
      console.warn("conveyor_nb: the kernel can't be reached", error);
      setLink("dead");
      return;
    }
    pending.set(n, button);
    button?.setAttribute("aria-disabled", "true");
    setTimeout(() => pending.has(n) && link === "live" && setLink("busy"), patience);
  }

  function heard(n) {
    pending.get(n)?.removeAttribute("aria-disabled");
    pending.delete(n);
    if (!pending.size && link === "busy") setLink("live");
  }

  function setLink(state) {
    link = state;
    root.dataset.link = state;
    const texts = {
      live: "",
      busy: "Kernel busy: your click waits for the running cell",
      dead: "Disconnected: this is the last known state",
    };
    setText(linkLine, texts[state]);
    if (state === "dead") {
      for (const button of root.querySelectorAll("button")) button.disabled = true;
    }
  }

  function action(label, message, { kind = "", confirm = "", testid = null, aria = null } = {}) {
    const button = h("button", {
      type: "button", class: `cv-button ${kind}`, "aria-label": aria,
      "data-testid": testid ?? `cv-${message.do}`,
      onclick: () => {
        if (confirm && button.textContent !== confirm) {
          button.textContent = confirm;
          button.classList.add("cv-danger");
          setTimeout(() => {
            button.textContent = label;
            button.classList.remove("cv-danger");
          }, CONFIRM_MS);
        } else send(message, { button });
      },
    }, label);
    return button;
  }

  // -- time -----------------------------------------------------------------------------------

  const head = () => model.get("head");
  const storeNow = () => head().now + ((performance.now() - received) / 1000) * head().speed;

  function clockText(at, withDate = false) {
    const zone = head().speed === 0 ? "UTC" : undefined; // a made-up clock is read as it prints
    const when = new Date(at * 1000);
    const time = when.toLocaleTimeString("en-GB", { timeZone: zone });
    return withDate ? `${when.toLocaleDateString("en-CA", { timeZone: zone })} ${time}` : time;
  }

  function ageText(at) {
    const age = storeNow() - at;
    if (age < -0.05) return `in ${span(age)}`;
    return age < 1 ? "now" : `${span(age)} ago`;
  }

  function setAge(node, at, word) {
    node.hidden = at === null;
    if (at === null) return;
    node.dataset.at = at;
    node.title = `${word} ${new Date(at * 1000).toISOString()}`;
    setText(node, ageText(at));
  }

  // -- the skeleton ---------------------------------------------------------------------------

  const title = h("h3", { class: "cv-title", "data-testid": "cv-title" });
  const badges = h("span", { class: "cv-badges" });
  const pauseSlot = h("span", {});
  const linkLine = h("span", {
    class: "cv-badge cv-warn cv-link", role: "status", "data-testid": "cv-link",
  });
  const notice = h("p", { class: "cv-line cv-notice", role: "status", "data-testid": "cv-notice" });
  const chips = h("div", { class: "cv-chips", role: "group", "aria-label": "Filter jobs by state" });
  const workers = h("div", { class: "cv-workers", role: "list", "aria-label": "Workers" });
  const rows = h("div", { role: "rowgroup", class: "cv-rows", "data-testid": "cv-jobs" });
  const empty = h("p", { class: "cv-empty", "data-testid": "cv-empty" });
  const pageText = h("span", { class: "cv-page", "data-testid": "cv-page" });
  const turn = (step, label, name) =>
    h("button", {
      type: "button", class: "cv-button", "aria-label": name, "data-testid": `cv-${label}`,
      onclick: (event) =>
        send({ do: "page", page: model.get("jobs").page + step }, { button: event.currentTarget }),
    }, step < 0 ? "‹" : "›");
  const [previous, next] = [turn(-1, "prev", "Previous page"), turn(1, "next", "Next page")];
  const bulk = h("span", { class: "cv-bulk" });
  const detail = h("section", {
    class: "cv-detail", "aria-label": "Job", "data-testid": "cv-detail", hidden: true,
  });
  const [dHead, dFacts, dText, dAttempts] = ["head", "facts", "texts", "attempts"].map((name) =>
    h("div", { class: `cv-detail-${name}`, "data-testid": `cv-detail-${name}` }));
  detail.append(dHead, dFacts, dText, dAttempts);
  const logRows = h("ol", {
    class: "cv-events", tabindex: "0", "aria-label": "Events, newest first", "data-testid": "cv-events",
  });
  const logType = h("select", {
    class: "cv-select", "aria-label": "Show events of type", "data-testid": "cv-event-type",
    onchange: () => send({ do: "event_type", type: logType.value }),
  });
  const hold = h("button", {
    type: "button", class: "cv-button", "aria-pressed": "false", "data-testid": "cv-hold",
    onclick: () => {
      held = !held;
      unseen = 0;
      drawEvents();
    },
  });
  const column = (name, kind) => h("span", { role: "columnheader", class: `cv-${kind}` }, name);
  const table = h("section", { class: "cv-jobs", role: "table", "aria-label": "Jobs" },
    h("div", { role: "rowgroup" }, h("div", { role: "row", class: "cv-row cv-columns" },
      column("State", "state"), column("Job", "job"), column("Progress", "progress"),
      column("Tries", "tries"), column("When", "when"), column("Result", "result"))),
    rows);
  const root = h("div", {
    class: "cv-panel", role: "region", "data-testid": "cv-panel", "data-link": "live",
    "data-lm-suppress-shortcuts": "true", // keys typed here are not for JupyterLab's commands
  },
    h("div", { class: "cv-head" }, title, badges, h("span", { class: "cv-gap" }), linkLine, pauseSlot),
    notice, chips, workers,
    table,
    empty,
    h("div", { class: "cv-pager" }, bulk, h("span", { class: "cv-gap" }), pageText, previous, next),
    detail,
    h("section", { class: "cv-log", "aria-label": "Event log" },
      h("div", { class: "cv-log-head" }, h("span", { class: "cv-caption" }, "Events"),
        h("span", { class: "cv-gap" }), logType, hold),
      logRows));

  rows.addEventListener("click", (event) => {
    const row = event.target.closest(".cv-row");
    if (!row || (event.detail && String(document.getSelection()))) return; // selecting is no click
    const id = row.dataset.key;
    const isOpen = model.get("detail")?.id === id;
    scrollTo = isOpen ? null : id;
    send({ do: "open", id: isOpen ? "" : id });
  });

  // -- drawing --------------------------------------------------------------------------------

  function drawHead() {
    const { name, paused, paused_names: names, counts, speed, now } = head();
    const said = model.get("notice");
    setText(title, name);
    root.setAttribute("aria-label", `Queue ${name}`);
    memo(badges, [paused, names, speed, speed === 0 ? now : 0], () => [
      paused && h("span", { class: "cv-badge cv-warn", "data-testid": "cv-paused" },
        icon("paused"), "Paused"),
      ...names.map((job) => h("span", { class: "cv-badge cv-warn" }, icon("paused"), job)),
      speed !== 1 && h("span", { class: "cv-badge", title: "The store's own clock" },
        speed === 0 ? clockText(now, true) : `clock ×${speed}`),
    ]);
    memo(pauseSlot, paused, () =>
      paused
        ? action("Resume queue", { do: "resume" }, { kind: "cv-primary" })
        : action("Pause queue", { do: "pause" }));
    memo(notice, [said, dismissed], () => said && said.n !== dismissed && [
      h("span", {}, said.text),
      h("button", {
        type: "button", class: "cv-button cv-quiet", "aria-label": "Dismiss this message",
        onclick: () => { dismissed = said.n; drawHead(); },
      }, "×"),
    ]);
    const shown = model.get("jobs").state;
    const total = Object.values(counts).reduce((sum, n) => sum + n, 0);
    reconcile(chips, Object.entries(LABELS), ([state]) => state,
      ([state, label]) => h("button", {
        type: "button", class: "cv-chip", title: state, "data-testid": `cv-chip-${state || "all"}`,
        onclick: () => send({ do: "show", state }),
      }, ...(state ? [icon(state)] : []), h("span", {}, label), h("b", {})),
      (chip, [state]) => {
        const count = state ? counts[state] : total;
        setText(chip.lastChild, count.toLocaleString("en"));
        chip.classList.toggle("cv-zero", !count);
        chip.setAttribute("aria-pressed", String(state === shown));
      });
  }

  function drawWorkers() {
    const list = model.get("workers");
    memo(workers, list.length ? "" : "none", (none) =>
      none && h("p", { class: "cv-empty" }, "No worker serves this queue yet."));
    if (!list.length) return;
    reconcile(workers, list, (worker) => worker.key,
      () => h("div", { class: "cv-worker", role: "listitem", "data-testid": "cv-worker" },
        h("span", { class: "cv-who" }), h("span", { class: "cv-slots" }), h("span", { class: "cv-acts" })),
      (row, worker) => {
        const { name, version, status, busy, held, concurrency, can } = worker;
        row.dataset.status = status;
        memo(row.children[0], [name, version, status], () => [
          icon(status === "stopping" ? "paused" : status),
          h("span", { class: "cv-name", title: name }, name),
          version && h("span", { class: "cv-muted", "data-testid": "cv-worker-version" }, `version ${version}`),
          h("span", { class: "cv-status" }, status)]);
        memo(row.children[1], [busy, held, concurrency], () => [
          busy !== null && concurrency <= 16 && h("span", { class: "cv-meter", "aria-hidden": "true" },
            ...Array.from({ length: concurrency }, (_, i) => h("i", { class: i < busy ? "cv-on" : "" }))),
          h("span", { class: "cv-num" }, busy === null ? `${concurrency} slots` : `${busy} / ${concurrency} busy`),
          held > 0 && h("span", { class: "cv-num", "data-testid": "cv-worker-held",
            title: "by handlers that did not stop when they were told to" }, `${held} held`)]);
        memo(row.children[2], can, () => can.map((what) =>
          action(what[0].toUpperCase() + what.slice(1), { do: `${what}_worker`, worker: worker.key },
            { testid: `cv-worker-${what}`, aria: `${what} worker ${name}` })));
      });
  }

  const makeRow = () => h("div", { role: "row", class: "cv-row", "data-testid": "cv-job" },
    h("span", { role: "cell", class: "cv-state" }),
    h("span", { role: "cell", class: "cv-job" },
      h("button", { type: "button", class: "cv-open" }), h("span", { class: "cv-id" })),
    h("span", { role: "cell", class: "cv-progress" }),
    h("span", { role: "cell", class: "cv-tries" }),
    h("span", { role: "cell", class: "cv-when" }, h("time", {})),
    h("span", { role: "cell", class: "cv-result" }));

  function drawRow(row, job) {
    const [state, name, progress, tries, when, result] = row.children;
    row.dataset.state = job.state;
    const isOpen = model.get("detail")?.id === job.id;
    row.classList.toggle("cv-selected", isOpen);
    memo(state, job.state, () => [icon(job.state), h("span", {}, LABELS[job.state])]);
    const [open, id] = name.children;
    setText(open, job.name);
    open.setAttribute("aria-expanded", String(isOpen));
    setText(id, job.short_id);
    name.title = `${job.name}  ${job.id}`;
    memo(progress, job.progress, (percent) => percent === null ? null : [
      h("span", { class: "cv-bar", "aria-hidden": "true" }, h("i", { style: `width:${percent}%` })),
      h("span", { class: "cv-num" }, `${Math.round(percent)}%`)]);
    setText(tries, job.tries);
    setAge(when.firstChild, job.at, job.at_word);
    setText(result, job.text);
    result.title = job.text;
  }

  function drawJobs() {
    const jobs = model.get("jobs");
    reconcile(rows, jobs.rows, (job) => job.id, makeRow, drawRow);
    table.classList.toggle("cv-plain", jobs.rows.every((job) => job.progress === null));
    empty.hidden = jobs.rows.length > 0;
    setText(empty, jobs.state ? `No ${LABELS[jobs.state].toLowerCase()} jobs.`
      : "No jobs yet. Add one with  await queue.add(\"name\", {...})");
    setText(pageText, jobs.total ? `${(jobs.first + 1).toLocaleString("en")}–${
      (jobs.first + jobs.rows.length).toLocaleString("en")} of ${jobs.total.toLocaleString("en")}` : "");
    previous.disabled = link === "dead" || jobs.page === 0;
    next.disabled = link === "dead" || jobs.page >= jobs.pages - 1;
    memo(bulk, jobs.total ? jobs.state : "", (state) => [
      state === "failed" && action("Retry all failed", { do: "retry_failed" }),
      state === "delayed" && action("Run all now", { do: "promote_delayed" })]);
  }

  function drawDetail() {
    const job = model.get("detail");
    detail.hidden = !job;
    if (!job) return;
    detail.setAttribute("aria-label", `Job ${job.id}`);
    memo(dHead, [job.id, job.name, job.state, job.can], () => [
      icon(job.state), h("h4", {}, job.name), h("span", { class: "cv-id" }, job.id),
      h("span", { class: "cv-status" }, job.gone ? "Removed" : LABELS[job.state]),
      h("span", { class: "cv-gap" }),
      ...job.can.map((what) => action(what[0].toUpperCase() + what.slice(1),
        { do: `${what}_job`, id: job.id },
        { testid: `cv-job-${what}`, confirm: what === "remove" ? "Remove for good?" : "" })),
      h("button", {
        type: "button", class: "cv-button cv-quiet", "aria-label": "Close the job",
        "data-testid": "cv-detail-close", onclick: () => send({ do: "open", id: "" }),
      }, "×")]);
    memo(dFacts, job.facts, (facts) => facts.map(([label, value, kind]) => {
      const shown = kind === "at" ? clockText(value, true) : kind === "span" ? span(value) : value;
      return h("span", { class: "cv-fact" }, h("span", { class: "cv-caption" }, label), shown);
    }));
    memo(dText, job.texts, (texts) => texts.map(([label, text]) =>
      textBlock(label, text, `cv-text-${label.toLowerCase()}`)));
    reconcile(dAttempts, [...job.attempts].reverse(), (attempt) => `${job.id} ${attempt.attempt}`,
      (attempt) => h("details", { "data-testid": "cv-attempt", open: attempt.attempt === job.attempts.length }),
      (node, attempt) => memo(node, attempt, () => [
        h("summary", {}, icon(attempt.status), `Attempt ${attempt.attempt}`,
          h("span", { class: "cv-status" }, attempt.status),
          h("span", { class: "cv-muted" }, [attempt.took === null ? "" : span(attempt.took),
            attempt.worker].filter(Boolean).join(" · "))),
        attempt.error && h("p", { class: "cv-error" }, attempt.error),
        textBlock("Traceback", attempt.traceback, "cv-traceback"),
        textBlock("Log", attempt.logs, "cv-attempt-log"),
        !attempt.error && !attempt.logs && h("p", { class: "cv-muted" }, "It logged nothing.")]));
    if (scrollTo === job.id) {
      scrollTo = null;
      detail.scrollIntoView({ block: "nearest" });
    }
  }

  function takeEvents() {
    const { reset, type, types, rows: fresh } = model.get("events");
    if (reset) events = [];
    events = [...fresh, ...events].slice(0, EVENT_ROWS);
    if (held) unseen += fresh.length;
    memo(logType, types, () => [["", "All types"], ...types.map((name) => [name, name])].map(
      ([value, label]) => h("option", { value }, label)));
    if (document.activeElement !== logType) logType.value = type;
    drawEvents();
  }

  function drawEvents() {
    setText(hold, held ? (unseen ? `Held · ${Math.min(unseen, EVENT_ROWS)} new` : "Held") : "Hold");
    hold.setAttribute("aria-pressed", String(held));
    if (held) return;
    reconcile(logRows, events, (event) => event.n,
      ({ at, type, id, text }) => h("li", { class: "cv-event", "data-type": type, "data-testid": "cv-event" },
        h("span", { class: "cv-num cv-muted", title: new Date(at * 1000).toISOString() }, clockText(at)),
        h("span", { class: "cv-type" }, type), h("span", { class: "cv-id" }, id),
        h("span", { class: "cv-text", title: text }, text)),
      () => {});
  }

  function paint() {
    if (!head().counts) return; // a store that has to be waited for: the first frame is under way
    received = performance.now();
    drawHead();
    drawWorkers();
    drawJobs();
    drawDetail();
    takeEvents();
    // The kernel sends its next frame when this one is drawn: a slow page is never flooded.
    if (link !== "dead") model.send({ do: "drawn", frame: model.get("frame"), view });
  }

  function onMessage(message) {
    if (message.view === view) heard(message.heard);
  }

  // Jupyter's widgets are told of a restart; that a kernel crashed or ended only the kernel says.
  const kernel = model.widget_manager?.kernel;
  const onDead = () => setLink("dead");
  const onStatus = (_, status) => ENDED.has(status) && onDead();
  function onLink() {
    if (el.classList.contains("jupyter-widgets-disconnected")) onDead();
  }

  const ticking = setInterval(() => {
    if (document.hidden || head().speed === 0 || link === "dead") return;
    for (const node of root.querySelectorAll("time[data-at]")) setText(node, ageText(+node.dataset.at));
  }, 1000);

  el.append(root);
  model.on("change:frame", paint);
  model.on("msg:custom", onMessage);
  model.on("comm_live_update", onLink);
  kernel?.statusChanged?.connect(onStatus);
  kernel?.disposed?.connect(onDead);
  onLink();
  send({ do: "hello" }, { patience: HELLO_PATIENCE_MS });
  paint();

  return () => {
    clearInterval(ticking);
    model.off("change:frame", paint);
    model.off("msg:custom", onMessage);
    model.off("comm_live_update", onLink);
    kernel?.statusChanged?.disconnect(onStatus);
    kernel?.disposed?.disconnect(onDead);
    send({ do: "bye" });
  };
}

export default { render };
