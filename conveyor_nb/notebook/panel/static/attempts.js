// The attempts of a job: how each went, what it printed, and where it failed.

import { h, icon, memo, reconcile, textBlock } from "./elements.js";
import { span } from "./time.js";

/** Runs of frames that are not the person's, as one part each, so that they can be folded. */
export function foldForeign(parts) {
  const folded = [];
  for (const part of parts) {
    const last = folded.at(-1);
    if (!part.where || part.own) folded.push(part);
    else if (last?.frames) last.frames.push(part);
    else folded.push({ frames: [part] });
  }
  // where all of it is other people's code, there is nothing to find among it
  return folded.some((part) => part.own) ? folded : parts;
}

/** @param {import("./panel.js").Page} page */
export function makeAttempts(page) {
  const node = h("div", { class: "cv-detail-attempts", "data-testid": "cv-detail-attempts" });

  const frame = (part) => part.where ? h("div", { class: part.own ? "cv-job-frame cv-own" : "cv-job-frame" },
    h("div", { class: "cv-where" }, h("b", {}, part.where), part.function ? ` in ${part.function}` : ""),
    part.code ? h("pre", { class: "cv-job-code" }, part.code) : null)
    : part.frames ? h("details", { class: "cv-foreign" },
      h("summary", {}, `${part.frames.length} ${part.frames.length === 1 ? "step" : "steps"} in other code`),
      ...part.frames.map(frame))
    : h("div", { class: "cv-trace-text" }, part.text);

  function traceback(parts) {
    if (!parts.length) return null;
    const block = h("div", { class: "cv-trace", tabindex: "0", role: "group", "aria-label": "Traceback", "data-testid": "cv-traceback" },
      ...foldForeign(parts).map(frame));
    // it opens at the error, which Python writes last
    requestAnimationFrame(() => { block.scrollTop = block.scrollHeight; });
    return h("div", {}, h("h5", {}, "Traceback"), block);
  }

  const drawAttempt = (details, attempt) => memo(details, attempt, () => [
    h("summary", {}, icon(attempt.status.replace(" ", "-")), `Attempt ${attempt.attempt}`,
      h("span", { class: "cv-status" }, attempt.status),
      h("span", { class: "cv-muted", title: page.clock.full(attempt.at) },
        [page.clock.text(attempt.at), attempt.took === null ? "" : `took ${span(attempt.took)}`, attempt.worker]
          .filter(Boolean).join(" · "))),
    attempt.error && h("p", { class: "cv-error" }, attempt.error),
    attempt.whole ? traceback(attempt.traceback) : h("p", { class: "cv-muted" }, "…"),
    textBlock("Printed and logged", attempt.logs, "cv-attempt-log"),
    attempt.whole && !attempt.error && !attempt.logs && h("p", { class: "cv-muted" }, "It logged nothing.")]);

  function makeAttempt(job, attempt) {
    const details = h("details", { "data-testid": "cv-attempt", open: attempt.attempt === job.attempts.at(-1).attempt });
    details.addEventListener("toggle", (event) => {
      const now = page.part("detail")?.attempts.find((one) => one.attempt === attempt.attempt);
      if (event.target !== details || !details.open || now?.whole) return;
      page.link.send({ do: "open_attempt", attempt: attempt.attempt });
    });
    return details;
  }

  return {
    nodes: [node],
    draw(job) {
      reconcile(node, [...job.attempts].reverse(), (attempt) => `${job.queue} ${job.id} ${attempt.attempt}`,
        (attempt) => makeAttempt(job, attempt), drawAttempt);
    },
  };
}
