// A program of Conveyor that does what it is told: a line of JSON in, a line of JSON out.
//
//   node driver.mjs CHECKOUT CONNECTION
//
// CHECKOUT is the folder of Conveyor, whose own map of imports is followed; CONNECTION are the
// options of its driver, as JSON. Asked for {id, ask, ...}, it answers {id, answer} or {id, error};
// what it is told of by events comes as {event} in between.

import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";

const [checkout, connection] = process.argv.slice(2);
const root = pathToFileURL(`${checkout}/`);
const { imports } = JSON.parse(readFileSync(new URL("deno.json", root), "utf8"));
const sources = new Map(
  Object.entries(imports)
    .filter(([, place]) => place.startsWith("./"))
    .map(([name, place]) => [name, new URL(place, root).href]),
);
registerHooks({
  resolve: (name, context, next) => next(sources.get(name) ?? name, context),
});
const load = (/** @type {string} */ name) => import(sources.get(`@conveyor/${name}`));

const { FlowProducer, Queue, Worker } = await load("core");
const { PgStore } = await load("store-pg");

const connected = async () => {
  const store = new PgStore({ connection: JSON.parse(connection), metrics: { enabled: true } });
  await store.connect();
  return store;
};
const store = await connected();

const say = (/** @type {object} */ told) => process.stdout.write(`${JSON.stringify(told)}\n`);
const withDates = (/** @type {any} */ value) => {
  for (const name of ["startDate", "endDate"]) {
    if (value?.repeat?.[name]) value.repeat[name] = new Date(value.repeat[name]);
  }
  return value;
};
const told = (/** @type {any} */ value) => (value?.toJSON ? value.toJSON() : value);
const workers = new Map();
let dashboard;

const deeds = {
  echo: async (job) => job.data,
  nothing: async () => {},
  text: async () => "as text",
  fail: async () => {
    throw new Error("as it was told");
  },
  "fail at first": async (job) => {
    if (job.attemptsMade === 0) throw new Error("at first");
    return "at last";
  },
  tell: async (job) => {
    await job.updateProgress(40);
    await job.log("half way");
    return 40;
  },
  sum: async (job) => Object.values(await job.getChildrenValues()).reduce((a, b) => a + b, 0),
  "until it is cancelled": (job, signal) =>
    new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("over")))),
  shortly: async (job) => {
    await sleep(Math.random() * 10);
    return { id: job.id };
  },
};

const answers = {
  queue: async ({ queue, does, args }) => {
    const answer = await new Queue(queue, { store })[does](...args.map(withDates));
    return Array.isArray(answer) ? answer.map(told) : told(answer);
  },
  job: async ({ queue, job: id, does, args }) => {
    const job = await new Queue(queue, { store }).getJob(id);
    return told(await job[does](...args));
  },
  store: async ({ does, args }) => store[does](...args),
  flow: async ({ flow }) => told((await new FlowProducer({ store }).add(flow)).job),
  watch: async ({ queue }) => {
    const heard = new Promise((resolve) =>
      store.subscribe(queue, (event) => (event.type === "ping" ? resolve() : say({ event }))),
    );
    const other = await connected(); // its own events it hears without any server
    const event = { type: "ping", queueName: queue, jobId: "", timestamp: new Date() };
    const timer = setInterval(() => other.publish(event), 20);
    await heard;
    clearInterval(timer);
    await other.disconnect();
  },
  cancel: async ({ queue, job }) => new Queue(queue, { store }).observe(job).cancel(),
  work: async ({ queue, deed, options = {}, poll = 50 }) => {
    Worker.POLL_INTERVAL = poll;
    const worker = new Worker(queue, deeds[deed], { store, ...options });
    worker.on("error", (error) => say({ event: { type: "fault", error: String(error) } }));
    workers.set(worker.id, worker);
    return worker.id;
  },
  rest: async ({ worker }) => workers.get(worker).close(1000),
  api: async ({ method, path, body }) => {
    const { createDashboardHandler } = await load("dashboard-api");
    dashboard ??= createDashboardHandler({ store });
    const given = body === undefined ? {} : { body: JSON.stringify(body) };
    const headers = { "content-type": "application/json" };
    const address = `http://127.0.0.1${path}`;
    const answer = await dashboard(new Request(address, { method, headers, ...given }));
    const text = await answer.text();
    return { status: answer.status, body: text ? JSON.parse(text) : null };
  },
};

say({ event: { type: "ready" } });
for await (const line of createInterface({ input: process.stdin })) {
  const { id, ask, ...given } = JSON.parse(line);
  answers[ask](given).then(
    (answer) => say({ id, answer: answer ?? null }),
    (error) => say({ id, error: `${error?.name}: ${error?.message ?? error}` }),
  );
}
process.exit();
