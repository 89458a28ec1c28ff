// A process that uses a store: does what its parent says, one message at a time, and answers each.
import { hostname } from "node:os";

const [folder] = process.argv.slice(2);
const built = (path) => import(new URL(`../../dist/storage/lmdb/${path}`, import.meta.url).href);
const { LmdbStorage } = await built("index.js");
const { joinStore } = await built("shared.js");

const storage = new LmdbStorage({ path: folder });
const die = () => process.kill(process.pid, "SIGKILL");

const job = (more) => ({
  name: "a",
  queue: "q",
  payload: "1",
  maxRetries: 3,
  backoff: { kind: "fixed", delayMs: 1_000 },
  timeoutMs: null,
  retention: { completedMs: null, cancelledMs: null, deadMs: null },
  tags: [],
  priority: 0,
  ...more,
});

let tokens = 0;

const commands = {
  open: () => storage.open(),
  close: () => storage.close(),
  enqueue: async (count) => {
    const [answer] = await storage.enqueue([Array.from({ length: count }, () => job())]);
    return answer.jobs.map(({ id }) => id);
  },
  /** Jobs that differ from the usual one; those that may come in do. */
  enqueueJobs: async (jobs) => {
    const [answer] = await storage.enqueue([jobs.map(job)]);
    await storage.promote(1_000);
    return answer.jobs;
  },
  /** The last job of the group takes the process with it, when it is stored: inside the transaction. */
  dieEnqueuing: (count) =>
    storage.enqueue([
      [...Array.from({ length: count }, () => job()), Object.defineProperty(job(), "payload", { get: die })],
    ]),
  register: (id) =>
    storage.beat({
      id,
      host: hostname(),
      pid: process.pid,
      lostAfterMs: 3_600_000,
      queues: [],
      holds: [],
      starts: [],
      first: true,
    }),
  claim: async ({ processId, room }) => {
    const queues = [{ queue: "q", names: ["a"], room, readAhead: 0 }];
    const { jobs } = await storage.claim({
      processId,
      token: `${processId}:${++tokens}`,
      queues,
      starts: [],
    });
    return jobs;
  },
  settle: (settlements) => storage.settle(settlements),
  /** Dies when the durable write is done and the volatile one that follows it is not. */
  dieSettling: async (settlements) => {
    const { store } = await joinStore(folder, folder, undefined);
    store.writeVolatile = die;
    return storage.settle(settlements);
  },
  rescue: (processId) => storage.rescue({ processId, token: `${processId}:${++tokens}`, limit: 100 }),
  watch: (interest) => void storage.watch(interest, () => process.send({ woken: true })),
  change: ({ ids, change }) => storage.change(ids, change),
  get: (ids) => storage.get(ids),
  count: (query) => storage.count(query).then(({ n }) => n),
  exit: () => process.exit(0),
  /** With nobody to talk to, only what is left open could keep the process alive. */
  hush: () => process.disconnect(),
};

process.on("message", async ({ id, command, argument }) => {
  try {
    const answer = await commands[command](argument);
    if (process.connected) process.send({ id, answer });
  } catch (error) {
    if (process.connected) process.send({ id, error: `${error.name}: ${error.message}` });
  }
});
process.send({ ready: true });
