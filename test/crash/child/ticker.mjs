// A worker with schedules, on a machine whose clock is wrong by `clockMs`. Writes down when it was there, by the
// storage's clock as it sees it, and which ticks ran.

const { clockMs } = JSON.parse(process.env.JOBWRIGHT_CRASH_CHILD);
const Machine = Date;
// Before anything is loaded that may look at it.
globalThis.Date = class Date extends Machine {
  constructor(...given) {
    if (given.length === 0) super(Machine.now() + clockMs);
    else super(...given);
  }
  static now() {
    return Machine.now() + clockMs;
  }
};

const { connect, jobwright, leaveChannel, log, pause, tell } = await import("./store.mjs");
const { jobs, storage } = await connect({ watched: false });

const tick = jobwright.defineJob({
  name: "tick",
  maxRetries: Number.POSITIVE_INFINITY,
  backoff: jobwright.fixed(5),
  async run({ key }, ctx) {
    const { id, attempt, runAt } = ctx.job;
    log("start", { id, key, attempt, runAt: runAt.getTime() });
    // Some are caught at it.
    if (Number(id) % 3 === 0) await pause(30);
  },
});

const schedule = (key) => ({ key, missed: "all", overlap: "allow" });
const worker = jobs.worker([tick], {
  schedules: [
    jobwright.every("1s", tick, { key: "every-1" }, schedule("every-1")),
    jobwright.every("2s", tick, { key: "every-2" }, schedule("every-2")),
    jobwright.cron("* * * * * *", tick, { key: "cron-1" }, schedule("cron-1")),
    jobwright.cron("*/2 * * * * *", tick, { key: "cron-2" }, schedule("cron-2")),
  ],
});

const { writeSchedules } = storage;
storage.writeSchedules = async (writes) => {
  const results = await writeSchedules.call(storage, writes);
  const fired = writes.flatMap(({ key, jobs: made = [] }, i) =>
    results[i].ok && made.length > 0
      ? [[key, made.map(({ later }, j) => [String(results[i].jobs[j].id), later.at])]]
      : [],
  );
  const lost = results.filter(({ ok }) => !ok).length;
  if (fired.length > 0 || lost > 0) log("fired", { fired, lost });
  return results;
};

jobwright.stopOnSignals([worker, jobs]);
process.once("SIGTERM", () => {
  log("down", {});
  leaveChannel();
});
await worker.start();
log("up", { now: jobs.clock.now() });
tell({ name: "ready" });
