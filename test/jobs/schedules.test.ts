import { afterEach, describe, expect, it } from "vitest";
import { connect, cron, defineJob, every, InvalidOptionError, json, type Worker } from "../../src/index.ts";
import { runUntilIdle } from "../../src/testing/index.ts";
import type { ScheduleWrite } from "../../src/storage/storage.ts";
import { storages } from "../support/storages.ts";
import { gate, until, type World, world } from "../support/world.ts";

const seen: { payload: unknown; at: number }[] = [];
const note = defineJob({
  name: "note",
  payload: json<{ n: number }>(),
  run: (payload, ctx) => void seen.push({ payload, at: ctx.job.runAt.getTime() }),
});
const other = defineJob({ name: "other", run: () => "done" });

describe.each(storages)("schedules on $label", (kind) => {
  let here: World;
  let worker: Worker;
  afterEach(async () => {
    seen.length = 0;
    await here?.[Symbol.asyncDispose]();
  });

  async function begin(): Promise<number> {
    here = await world(kind);
    worker = here.jobs.worker([note, other]);
    return here.clock.now();
  }

  async function pass(ms: number): Promise<number[]> {
    const before = seen.length;
    await here.clock.advance(ms);
    await runUntilIdle(worker);
    return seen.slice(before).map(({ at }) => at);
  }

  it("make a job at every interval, once however many look", async () => {
    const start = await begin();
    await here.jobs.every("1m", note, { n: 1 });
    const second = here.jobs.worker([note]);
    expect(await pass(59_999)).toEqual([]);
    expect(await pass(1)).toEqual([start + 60_000]);
    await runUntilIdle(second);
    expect(await pass(60_000)).toEqual([start + 120_000]);
    expect(seen.map(({ payload }) => payload)).toEqual([{ n: 1 }, { n: 1 }]);
    await second.stop();
  });

  it("say how they stand", async () => {
    const start = await begin();
    await here.jobs.cron(
      "*/10 * * * *",
      note,
      { n: 2 },
      { key: "tens", zone: "Asia/Kathmandu", tags: ["x"] },
    );
    await here.jobs.every("1h", other, undefined, { first: "now" });
    const [hourly, tens] = await here.jobs.schedules.list();
    expect(tens).toMatchObject({
      key: "tens",
      name: "note",
      queue: "default",
      payload: { n: 2 },
      timing: { kind: "cron", expression: "*/10 * * * *", zone: "Asia/Kathmandu" },
      ...{ missed: "once", overlap: "skip", declared: false, paused: false },
    });
    const firstAt = tens?.next[0]?.getTime() as number;
    expect(tens?.next.map((at) => at.getTime() - firstAt)).toEqual([
      0, 600_000, 1_200_000, 1_800_000, 2_400_000,
    ]);
    expect(hourly?.next[0]).toEqual(new Date(start));
    await runUntilIdle(worker);
    const after = await here.jobs.schedules.get("other");
    expect(after?.lastTickAt).toEqual(new Date(start));
    expect(await here.jobs.get(after?.lastJobId as string)).toMatchObject({
      name: "other",
      state: "completed",
    });
    expect(after?.next[0]).toEqual(new Date(start + 3_600_000));
  });

  it("keep their pace when they are said again, and change when they are said otherwise", async () => {
    const start = await begin();
    await here.jobs.every("1m", note, { n: 1 });
    await pass(30_000);
    await here.jobs.every("1m", note, { n: 2 });
    expect(await pass(30_000)).toEqual([start + 60_000]);
    expect(seen.at(-1)?.payload).toEqual({ n: 2 });
    await here.jobs.every("10s", note, { n: 3 });
    expect(await pass(10_000)).toEqual([start + 70_000]);
    expect(await here.jobs.schedules.list()).toHaveLength(1);
  });

  it("rest while they are paused, and miss nothing by that", async () => {
    await begin();
    await here.jobs.every("1m", note, { n: 1 }, { missed: "all", overlap: "allow" });
    expect(await here.jobs.schedules.pause("note")).toBe(true);
    expect(await here.jobs.schedules.pause("note")).toBe(false);
    expect(await here.jobs.schedules.get("note")).toMatchObject({ paused: true, next: [] });
    // Said again, it still rests: who paused it at night must not be undone by a deploy.
    await here.jobs.every("1m", note, { n: 1 }, { missed: "all", overlap: "allow" });
    expect(await pass(600_000)).toEqual([]);
    expect(await here.jobs.schedules.resume("note")).toBe(true);
    expect(await here.jobs.schedules.resume("note")).toBe(false);
    expect(await pass(60_000)).toHaveLength(1);
    expect(await here.jobs.schedules.pause("nobody")).toBe(false);
  });

  it("are triggered by hand, also while they rest, and removed", async () => {
    const start = await begin();
    await here.jobs.every("1h", note, { n: 9 });
    await here.jobs.schedules.pause("note");
    const handle = await here.jobs.schedules.trigger("note");
    expect(await pass(0)).toEqual([start]);
    expect(await handle?.get()).toMatchObject({ state: "completed" });
    expect(await here.jobs.schedules.trigger("nobody")).toBeUndefined();
    expect(await here.jobs.schedules.remove("note")).toBe(true);
    expect(await here.jobs.schedules.remove("note")).toBe(false);
    expect(await here.jobs.schedules.list()).toEqual([]);
    expect(await pass(7_200_000)).toEqual([]);
  });

  it("leave out a tick while the last job has not ended, unless they may overlap", async () => {
    await begin();
    await here.jobs.every("1m", other, undefined, { key: "one", queue: "nobody" });
    await here.jobs.every("1m", other, undefined, { key: "two", queue: "nobody", overlap: "allow" });
    for (let i = 0; i < 3; i++) await pass(60_000);
    expect(await here.jobs.count({ queue: "nobody" })).toEqual({ n: 4, exact: true });
  });

  it("make up for what was missed as they say", async () => {
    const start = await begin();
    for (const missed of ["skip", "once", "all"] as const) {
      await here.jobs.every("1h", note, { n: 0 }, { key: missed, missed, overlap: "allow" });
    }
    await pass(4 * 3_600_000 + 60_000);
    const byHour = seen.map(({ at }) => (at - start) / 3_600_000).sort((a, b) => a - b);
    expect(byHour).toEqual([1, 2, 3, 4, 4]);
  });

  it("stand in the code of workers: what no code says any more rests, and goes on when it is said again", async () => {
    const start = await begin();
    const schedules = [every("1m", note, { n: 1 }), cron("0 0 * * *", other)];
    const old = here.jobs.worker([note, other], { schedules });
    await runUntilIdle(old);
    await here.jobs.every("1h", other, undefined, { key: "by call" });
    expect((await here.jobs.schedules.list()).map(({ key, declared }) => [key, declared])).toEqual([
      ["by call", false],
      ["note", true],
      ["other", true],
    ]);
    // The next version says only one of them; the old one still lives.
    const next = here.jobs.worker([note, other], { schedules: [every("1m", note, { n: 2 })] });
    await runUntilIdle(next);
    expect((await here.jobs.schedules.list()).map(({ key }) => key)).toEqual(["by call", "note", "other"]);
    await old.stop();
    await next.stop();
    const third = here.jobs.worker([note, other], { schedules: [every("1m", note, { n: 2 })] });
    await runUntilIdle(third);
    expect((await here.jobs.schedules.list()).map(({ key }) => key)).toEqual(["by call", "note"]);
    // Its pace was kept.
    await here.clock.advance(60_000);
    await runUntilIdle(third);
    expect(seen.at(-1)).toEqual({ payload: { n: 2 }, at: start + 60_000 });
    await third.stop();
    const fourth = here.jobs.worker([note, other], { schedules });
    await runUntilIdle(fourth);
    expect(await here.jobs.schedules.get("other")).toMatchObject({ declared: true });
    await fourth.stop();
  });

  // By hand: what a person with a calendar expects, also when the worker ends and another one begins in between.
  it.each<
    [
      what: string,
      expression: string,
      zone: string,
      from: string,
      restart: string,
      to: string,
      expected: string[],
    ]
  >([
    [
      "Berlin, the hour that is missing",
      "30 2 * * *",
      "Europe/Berlin",
      "2026-03-29T00:50:00Z",
      "2026-03-29T00:59:59Z",
      "2026-03-30T00:45:00Z",
      ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"],
    ],
    [
      "Berlin, the hour that comes twice",
      "30 2 * * *",
      "Europe/Berlin",
      "2026-10-25T00:10:00Z",
      "2026-10-25T01:15:00Z",
      "2026-10-26T01:45:00Z",
      ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
    ],
    [
      "New York, every half hour through the hour that comes twice",
      "*/30 * * * *",
      "America/New_York",
      "2026-11-01T05:05:00Z",
      "2026-11-01T06:10:00Z",
      "2026-11-01T07:05:00Z",
      ["2026-11-01T05:30:00Z", "2026-11-01T06:00:00Z", "2026-11-01T06:30:00Z", "2026-11-01T07:00:00Z"],
    ],
    [
      "Lord Howe, half an hour that comes twice",
      "*/30 * * * *",
      "Australia/Lord_Howe",
      "2026-04-04T14:40:00Z",
      "2026-04-04T15:10:00Z",
      "2026-04-04T16:05:00Z",
      ["2026-04-04T15:00:00Z", "2026-04-04T15:30:00Z", "2026-04-04T16:00:00Z"],
    ],
  ])(
    "come as a calendar says, restarted within the change: %s",
    async (_what, expression, zone, from, restart, to, expected) => {
      here = await world(kind);
      await here.clock.set(new Date(from));
      await here.jobs.cron(expression, note, { n: 0 }, { zone, missed: "all", overlap: "allow" });
      const first = here.jobs.worker([note]);
      const step = async (by: Worker, end: string): Promise<void> => {
        while (here.clock.now() < Date.parse(end)) {
          await here.clock.advance(Math.min(600_000, Date.parse(end) - here.clock.now()));
          await runUntilIdle(by);
        }
      };
      await first.start();
      await step(first, restart);
      await first.stop();
      const second = (await here.another()).worker([note]);
      await second.start();
      await step(second, to);
      await second.stop();
      expect(seen.map(({ at }) => new Date(at).toISOString().replace(".000", ""))).toEqual(expected);
    },
  );

  it("have no tick outside of their time, whatever is done to them", async () => {
    const start = await begin();
    const { jobs } = here;
    const hour = 3_600_000;
    const next = async (): Promise<number | undefined> =>
      (await jobs.schedules.get("note"))?.next[0]?.getTime();
    const say = (startAt: number): Promise<void> =>
      jobs.cron("* * * * *", note, { n: 1 }, { startAt: new Date(startAt) });
    await say(start + hour);
    await say(start + 2 * hour);
    const first = Math.ceil((start + 2 * hour) / 60_000) * 60_000;
    expect(await next()).toBe(first);
    await jobs.schedules.pause("note");
    await jobs.schedules.resume("note");
    expect(await next()).toBe(first);
    await jobs.every("1m", other, undefined, { first: "now", until: new Date(start - 1) });
    await here.clock.advance(60_000);
    await runUntilIdle(worker);
    expect((await jobs.schedules.get("other"))?.lastJobId).toBeUndefined();
  });

  it("are fired also when many stand before them that this code cannot read", async () => {
    const start = await begin();
    const unreadable = (i: number, text: string): ScheduleWrite => ({
      key: `newer-${i}`,
      expected: 0,
      row: { text, nextAt: start - 1 },
    });
    const zone = JSON.stringify({
      v: 1,
      timing: { kind: "cron", expression: "* * * * *", zone: "Mars/Olympus" },
    });
    await here.faults.storage.writeSchedules(
      Array.from({ length: 101 }, (_, i) => unreadable(i, i % 2 === 0 ? '{"v":2}' : zone)),
    );
    await here.jobs.every("1m", note, { n: 1 });
    expect(await pass(60_000)).toEqual([start + 60_000]);
  });

  it("do not wait for one whose unique key somebody's transaction holds, and nothing else does", async () => {
    const start = await begin();
    const { jobs, faults } = here;
    await jobs.every("1m", other, undefined, { unique: "held" });
    await jobs.every("1m", note, { n: 1 });
    await jobs.enqueue(note, { n: 2 }, { in: 60_000 });
    const transaction = gate();
    faults.plan("writeSchedules", { kind: "delay", until: transaction.promise }, 1, ([writes]) =>
      JSON.stringify(writes).includes('"unique"'),
    );
    expect((await pass(60_000)).sort()).toEqual([start + 60_000, start + 60_000]);
    expect((await jobs.schedules.get("other"))?.lastJobId).toBeUndefined();
    transaction.open();
    await until(async () => (await jobs.schedules.get("other"))?.lastJobId !== undefined);
  });

  it("of newer code do not keep older code from starting", async () => {
    const start = await begin();
    const newer = { key: "note", expected: 0, row: { text: '{"v":2}', nextAt: start + 1 } };
    await here.faults.storage.writeSchedules([newer]);
    const older = here.jobs.worker([note, other], {
      schedules: [every("1m", note, { n: 1 }), every("1m", other)],
    });
    await older.start();
    expect((await here.jobs.schedules.list()).map(({ key }) => key)).toEqual(["other"]);
    expect((await here.faults.storage.schedules()).find(({ key }) => key === "note")?.text).toBe(
      newer.row.text,
    );
    await older.stop();
  });

  it("tell their jobs which tick they are for, also when a run is repeated", async () => {
    const start = await begin();
    const ticks: (number | undefined)[] = [];
    const flaky = defineJob({
      name: "flaky",
      run: (_payload, ctx) => {
        ticks.push(ctx.job.tickAt?.getTime());
        if (ctx.job.attempt === 1) throw new Error("again");
      },
    });
    worker = here.jobs.worker([flaky]);
    await here.jobs.every("1h", flaky);
    await pass(3_600_000);
    await pass(60_000);
    expect(ticks).toEqual([start + 3_600_000, start + 3_600_000]);
    const [job] = (await here.jobs.list({ state: "completed" })).jobs;
    expect(job?.tickAt).toEqual(new Date(start + 3_600_000));
    await here.jobs.enqueue(flaky);
    await pass(0);
    expect(ticks.at(-1)).toBeUndefined();
  });

  it("are refused at the edge when they make no sense", async () => {
    await begin();
    const { jobs } = here;
    for (const bad of [
      () => jobs.every("1ms", note, { n: 1 }),
      () => jobs.every("1m", note, { n: 1 }, { key: "" }),
      () => jobs.every("1m", note, { n: 1 }, { missed: "never" as "skip" }),
      () => jobs.every("1m", note, { n: 1 }, { id: "x" } as object),
      () => jobs.every("1m", note, { n: 1 }, { priority: 1.5 }),
      () => jobs.cron("nonsense", note, { n: 1 }),
      () => jobs.cron("0 0 * * *", note, { n: 1 }, { zone: "Mars/Olympus" }),
    ]) {
      await expect((async () => bad())()).rejects.toThrow(InvalidOptionError);
    }
    expect(() =>
      jobs.worker([note], { schedules: [every("1m", note, { n: 1 }), every("2m", note, { n: 1 })] }),
    ).toThrow(/note/);
    expect(await jobs.schedules.list()).toEqual([]);
  });
});

describe("schedules", () => {
  it("are not asked of closed jobs", async () => {
    const jobs = await connect("memory:");
    await jobs.close();
    await expect(jobs.every("1m", note, { n: 1 })).rejects.toThrow(/closed/);
  });
});
