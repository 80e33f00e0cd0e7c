// One job with all that is known of it.

import { LABELS, capital, h, icon, memo, reconcile, textBlock } from "./elements.js";
import { span } from "./time.js";

/** @param {import("./panel.js").Page} page */
export function makeJob(page) {
  const node = h("section", {
    class: "cv-detail", "aria-label": "Job", "data-testid": "cv-detail", hidden: true,
  });
  const [head, facts, texts, attempts] = ["head", "facts", "texts", "attempts"].map((name) =>
    h("div", { class: `cv-detail-${name}`, "data-testid": `cv-detail-${name}` }));
  node.append(head, facts, texts, attempts);

  const drawHead = (job) => memo(head, [job.id, job.name, job.state, job.can], () => [
    icon(job.state), h("h4", {}, job.name), h("span", { class: "cv-id" }, job.id),
    h("span", { class: "cv-status" }, job.gone ? "Removed" : LABELS[job.state]),
    h("span", { class: "cv-gap" }),
    ...job.can.map((what) => page.link.act(capital(what), { do: `${what}_job`, id: job.id },
      { testid: `cv-job-${what}`, confirm: what === "remove" ? "Remove for good?" : "" })),
    h("button", {
      type: "button", class: "cv-button cv-quiet", "aria-label": "Close the job",
      "data-testid": "cv-detail-close", onclick: () => page.openJob(""),
    }, "×")]);

  const fact = ([label, value, kind]) => h("span", { class: "cv-fact" },
    h("span", { class: "cv-caption" }, label),
    kind === "at" ? page.clock.text(value, true) : kind === "span" ? span(value) : value);

  const drawAttempt = (details, attempt) => memo(details, attempt, () => [
    h("summary", {}, icon(attempt.status), `Attempt ${attempt.attempt}`,
      h("span", { class: "cv-status" }, attempt.status),
      h("span", { class: "cv-muted" }, [attempt.took === null ? "" : span(attempt.took),
        attempt.worker].filter(Boolean).join(" · "))),
    attempt.error && h("p", { class: "cv-error" }, attempt.error),
    textBlock("Traceback", attempt.traceback, "cv-traceback"),
    textBlock("Log", attempt.logs, "cv-attempt-log"),
    !attempt.error && !attempt.logs && h("p", { class: "cv-muted" }, "It logged nothing.")]);

  return {
    nodes: [node],
    draw() {
      const job = page.part("detail");
      node.hidden = !job;
      if (!job) return;
      node.setAttribute("aria-label", `Job ${job.id}`);
      drawHead(job);
      memo(facts, job.facts, (all) => all.map(fact));
      memo(texts, job.texts, (all) => all.map(([label, text]) =>
        textBlock(label, text, `cv-text-${label.toLowerCase()}`)));
      reconcile(attempts, [...job.attempts].reverse(), (attempt) => `${job.id} ${attempt.attempt}`,
        (attempt) => h("details",
          { "data-testid": "cv-attempt", open: attempt.attempt === job.attempts.length }),
        drawAttempt);
      if (page.takeNewlyOpened() === job.id) node.scrollIntoView({ block: "nearest" });
    },
  };
}
