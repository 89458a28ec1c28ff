import { afterEach, describe, expect, it } from "vitest";
import {
  connect,
  defineJob,
  type FleetEvent,
  InvalidOptionError,
  json,
  KeyHeldError,
  reschedule,
  ResultTimeoutError,
  snooze,
  StateError,
  StorageClosedError,
} from "../../src/index.ts";
import { MemoryStorage } from "../../src/storage/memory/index.ts";
import type { ListQuery, StoredJob } from "../../src/storage/storage.ts";
import { runUntilIdle, TestClock } from "../../src/testing/index.ts";
import { storages } from "../support/storages.ts";
import { until, type World, world } from "../support/world.ts";

const double = defineJob({ name: "double", payload: json<number>(), run: (n) => 2 * n });
const doomed = defineJob({
  name: "doomed",
  maxRetries: 1,
  payload: json<{ works?: boolean }>(),
  run: () => {
    if (!isRepaired) throw new Error("no");
    return "at last";
  },
});
const changing = defineJob({
  name: "changing",
  run: (_payload, ctx) => {
    if (steps === 0) {
      steps = 1;
      return snooze("1m");
    }
    if (steps === 1) {
      steps = 2;
      return reschedule("1m");
    }
    ctx.log.info("done");
    return "changed";
  },
});
let isRepaired = false;
let steps = 0;

describe.each(storages)("looking back on $label", (kind) => {
  let here: World;
  afterEach(async () => {
    isRepaired = false;
    steps = 0;
    await here?.[Symbol.asyncDispose]();
  });

  it("tells a job's life in order: failures, delays, what was done by hand, and its end", async () => {
    here = await world(kind);
    const worker = here.jobs.worker([doomed, changing]);
    const handle = await here.jobs.enqueue(doomed, {});
    const delayed = await here.jobs.enqueue(changing);
    const start = here.clock.now();
    await runUntilIdle(worker);
    await here.clock.advance("1m");
    await runUntilIdle(worker);
    isRepaired = true;
    await here.clock.advance("1m");
    await runUntilIdle(worker);
    expect(await here.jobs.retry(handle.id)).toBe(true);
    await runUntilIdle(worker);
    expect(
      (await here.jobs.history(handle.id)).map(({ kind: what, at }) => [what, at.getTime() - start]),
    ).toEqual([
      ["enqueued", 0],
      ["failed", 0],
      ["failed", 60_000],
      ["retried", 120_000],
      ["completed", 120_000],
    ]);
    const [, first] = await here.jobs.history(handle.id);
    expect(first).toMatchObject({
      attempt: 1,
      error: { message: "no" },
      processId: expect.any(String) as string,
    });
    expect(await here.jobs.history(delayed.id)).toMatchObject([
      { kind: "enqueued" },
      { kind: "snoozed", runAt: new Date(start + 60_000) },
      { kind: "rescheduled", runAt: new Date(start + 120_000) },
      { kind: "completed", attempt: 1 },
    ]);
    expect(await here.jobs.history("999999")).toEqual([]);
  });

  it("counts what came and how it ended, lately and ever", async () => {
    here = await world(kind);
    // The begin of an hour of UTC, so that "within the same hour" means what it says.
    await here.clock.advance(3_600_000 - (here.clock.now() % 3_600_000));
    const worker = here.jobs.worker([double, doomed]);
    await here.jobs.enqueueMany(double, [1, 2, 3]);
    await here.jobs.enqueue(doomed, {}, { maxRetries: 0 });
    const late = await here.jobs.enqueue(double, 4, { in: "1d" });
    await runUntilIdle(worker);
    await here.jobs.cancel(late.id);
    const flow = { enqueued: 5, completed: 3, cancelled: 1, dead: 1 };
    expect(await here.jobs.stats()).toEqual({ hour: flow, day: flow, month: flow, total: flow });
    expect((await here.jobs.stats({ name: "double" })).total).toEqual({ ...flow, enqueued: 4, dead: 0 });
    await here.clock.advance("1h");
    await here.jobs.enqueue(double, 1);
    const stats = await here.jobs.stats();
    expect(stats.hour).toEqual({ enqueued: 1, completed: 0, cancelled: 0, dead: 0 });
    expect(stats.day).toEqual({ ...flow, enqueued: 6 });
    await here.clock.advance("1d");
    expect((await here.jobs.stats()).day.enqueued).toBe(0);
    expect((await here.jobs.stats()).month.enqueued).toBe(6);
    await expect(here.jobs.stats({ state: "dead" } as object)).rejects.toThrow(InvalidOptionError);
  });

  it("runs the dead again, one by one or by filter, and throws them away", async () => {
    here = await world(kind);
    const worker = here.jobs.worker([doomed]);
    await here.jobs.enqueueMany(doomed, [{}, {}, {}], { maxRetries: 0, tags: ["batch"] });
    const other = await here.jobs.enqueue(doomed, {}, { maxRetries: 0 });
    await runUntilIdle(worker);
    const { jobs } = await here.jobs.dead.list({ name: "doomed" });
    expect(jobs.map(({ error }) => error?.message)).toEqual(["no", "no", "no", "no"]);
    expect(await here.jobs.dead.count()).toEqual({ n: 4, exact: true });
    expect(await here.jobs.dead.retry({ tag: "batch" })).toEqual({ retried: 3, conflicts: 0 });
    await runUntilIdle(worker);
    // They died once more, so there is something to throw away; that is not done to jobs of another tag.
    expect(await here.jobs.dead.purge({ tag: "batch" })).toEqual({ purged: 3 });
    isRepaired = true;
    expect(await here.jobs.dead.retry()).toEqual({ retried: 1, conflicts: 0 });
    await runUntilIdle(worker);
    expect(await here.jobs.get(other.id)).toMatchObject({
      state: "completed",
      result: "at last",
      attempt: 1,
    });
    expect(await here.jobs.dead.count()).toEqual({ n: 0, exact: true });
    await expect(here.jobs.dead.retry({ state: "dead" } as object)).rejects.toThrow(InvalidOptionError);
  });

  it("does not run a dead one again whose unique key another one holds", async () => {
    here = await world(kind);
    const worker = here.jobs.worker([doomed]);
    const unique = { key: "one" };
    const first = await here.jobs.enqueue(doomed, {}, { maxRetries: 0, unique });
    await runUntilIdle(worker);
    const second = await here.jobs.enqueue(doomed, {}, { unique });
    expect(second.created).toBe(true);
    await expect(here.jobs.retry(first.id)).rejects.toMatchObject({ key: "one", holderId: second.id });
    await expect(here.jobs.retry(first.id)).rejects.toThrow(KeyHeldError);
    expect(await here.jobs.dead.retry()).toEqual({ retried: 0, conflicts: 1 });
    expect(await here.jobs.keys({ of: doomed })).toEqual({ keys: [{ key: "one", id: second.id }] });
    expect(await here.jobs.keys({ of: double })).toEqual({ keys: [] });
  });

  it("makes one job of its kind for ever, however often that is said", async () => {
    here = await world(kind);
    const worker = here.jobs.worker([double]);
    const handles = await Promise.all([1, 2, 3].map((n) => here.jobs.ensure(double, n)));
    expect(new Set(handles.map(({ id }) => id)).size).toBe(1);
    expect(handles.filter(({ created }) => created)).toHaveLength(1);
    await runUntilIdle(worker);
    const again = await here.jobs.ensure(double, 9);
    expect(again).toMatchObject({ id: handles[0]?.id, created: false });
    expect(await again.get()).toMatchObject({ state: "completed", maxRetries: Number.POSITIVE_INFINITY });
    // Its record goes with its retention; that it was made is remembered.
    await here.clock.advance("30d");
    await runUntilIdle(worker);
    expect(await again.get()).toBeUndefined();
    expect((await here.jobs.ensure(double, 9)).created).toBe(false);
  });

  it("waits for many at once and answers how each ended, in order", async () => {
    here = await world(kind);
    const good = await here.jobs.enqueue(double, 21);
    const bad = await here.jobs.enqueue(doomed, {}, { maxRetries: 0 });
    const late = await here.jobs.enqueue(double, 1, { in: "1h" });
    const gone = here.jobs.handle<number>("987654");
    const ends = here.jobs.waitAll([late, bad, gone, good], { timeout: "1m" });
    await here.jobs.cancel(late.id, "no need");
    await runUntilIdle(here.jobs.worker([double, doomed]));
    expect(await ends).toEqual([
      { id: late.id, state: "cancelled", reason: "no need" },
      { id: bad.id, state: "dead", error: expect.objectContaining({ message: "no" }) as object },
      { id: "987654", state: "gone" },
      { id: good.id, state: "completed", result: 42 },
    ]);
    expect(await here.jobs.waitAll([], { timeout: "1s" })).toEqual([]);
  });

  it("stops waiting for many when time is up, when told so, and when the storage is closed", async () => {
    here = await world(kind);
    const never = await here.jobs.enqueueMany(double, [1, 2]);
    await expect(here.jobs.waitAll(never, { timeout: 1 })).rejects.toThrow(ResultTimeoutError);
    const stop = new AbortController();
    const waiting = here.jobs.waitAll(never, { timeout: "1m", signal: stop.signal });
    stop.abort(new Error("enough"));
    await expect(waiting).rejects.toThrow("enough");
    await expect(here.jobs.waitAll(never, {} as { timeout: "1s" })).rejects.toThrow(InvalidOptionError);
    await expect(here.jobs.waitAll([7 as never], { timeout: "1s" })).rejects.toThrow(InvalidOptionError);
    const last = here.jobs.waitAll(never, { timeout: "1m" }).catch((error: unknown) => error);
    await here.jobs.close();
    expect(await last).toBeInstanceOf(StorageClosedError);
  });

  it("follows what happens in the fleet, whoever runs it", async () => {
    here = await world(kind);
    const other = await here.another();
    const stop = new AbortController();
    const heard: FleetEvent[] = [];
    await here.jobs.enqueue(double, 1);
    await runUntilIdle(here.jobs.worker([double]));
    const events = here.jobs.events({ signal: stop.signal, every: 50 });
    const following = (async () => {
      for await (const event of events) heard.push(event);
    })();
    // It begins with what happens from now on, so there must be something to tell it that it has begun.
    const worker = other.worker([double, doomed]);
    await until(async () => {
      await other.enqueue(double, 2);
      await runUntilIdle(worker);
      return heard.some(({ type }) => type === "completed");
    });
    await other.enqueue(doomed, {}, { maxRetries: 0 });
    await runUntilIdle(worker);
    await until(() => heard.some(({ type }) => type === "dead"));
    await worker.stop();
    await until(() => heard.some(({ type }) => type === "process-left"));
    stop.abort();
    await following;
    const ended = heard.flatMap((event) => ("job" in event ? [event.job.id] : []));
    expect(new Set(ended).size).toBe(ended.length);
    expect(ended.map(Number)).toEqual(ended.map(Number).toSorted((a, b) => a - b));
    expect(ended).not.toContain("1");
  });

  it("stores at once where nobody else can be in the way", async () => {
    here = await world(kind);
    const atOnce = (): unknown => {
      try {
        return here.jobs.enqueueSync(double, 3);
      } catch (error) {
        return error;
      }
    };
    const stored = atOnce();
    const isAlone = kind.label === "memory";
    expect(stored).toMatchObject(isAlone ? { created: true } : { code: new StateError("").code });
    expect(await here.jobs.count({ state: "available" })).toEqual({ n: isAlone ? 1 : 0, exact: true });
    const wrong = isAlone ? InvalidOptionError : StateError;
    expect(() => here.jobs.enqueueSync(double, 3, { priority: 0.5 })).toThrow(wrong);
  });
});

describe("events", () => {
  // On PostgreSQL an end is seen when its transaction commits, with the instant at which it was written.
  it("tell of an end that is seen later than others that came after it, and of a second end of a job", async () => {
    let hidden = "";
    class Late extends MemoryStorage {
      override async list(query: ListQuery): Promise<{ jobs: StoredJob[]; next?: string }> {
        const page = await super.list(query);
        return { ...page, jobs: page.jobs.filter(({ id }) => String(id) !== hidden) };
      }
    }
    const hopeless = defineJob({
      name: "hopeless",
      maxRetries: 0,
      run: () => {
        throw new Error("no");
      },
    });
    const clock = new TestClock();
    await using jobs = await connect(new Late({ clock }));
    const worker = jobs.worker([double, hopeless]);
    const stop = new AbortController();
    const heard: FleetEvent[] = [];
    const events = jobs.events({ signal: stop.signal, every: 50 });
    const following = (async () => {
      for await (const event of events) heard.push(event);
    })();
    const ends = (id: string): number =>
      heard.filter((event) => "job" in event && event.job.id === id).length;
    await until(async () => {
      await jobs.enqueue(double, 0);
      await runUntilIdle(worker);
      return heard.length > 0;
    });
    const late = await jobs.enqueue(double, 1);
    hidden = late.id;
    await runUntilIdle(worker);
    await clock.advance(60_000);
    const failing = await jobs.enqueue(hopeless);
    const done = await jobs.enqueue(double, 2);
    await runUntilIdle(worker);
    await until(() => ends(done.id) === 1 && ends(failing.id) === 1);
    expect(ends(late.id)).toBe(0);
    hidden = "";
    await clock.advance(1);
    await jobs.retry(failing.id);
    await runUntilIdle(worker);
    await until(() => ends(late.id) === 1 && ends(failing.id) === 2);
    stop.abort();
    await following;
    expect([ends(late.id), ends(done.id), ends(failing.id)]).toEqual([1, 1, 2]);
  });
});
