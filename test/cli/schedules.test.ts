import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { defineJob } from "../../src/job/definition.ts";
import { runUntilIdle } from "../../src/testing/index.ts";
import { type Ran, run as runPlain } from "./fake-terminal.ts";
import { type Folder, folder } from "./store.ts";

const works = defineJob({
  name: "works",
  run: (_payload, ctx) => {
    ctx.progress(0.5, "half");
    ctx.log.warn("so far\u202e");
  },
});

let place: Folder;
beforeEach(async () => {
  place = folder();
  await place.use(async (jobs) => {
    await jobs.every("1h", works, undefined, { key: "hourly\u202e" });
    await jobs.cron("0 9 * * 1-5", works, undefined, { key: "report", zone: "Asia/Tokyo", queue: "slow" });
  });
});
afterEach(() => place[Symbol.dispose]());

function run(...args: string[]): Promise<Ran> {
  return runPlain(["schedules", ...args, "--url", place.url]);
}

async function json(...args: string[]): Promise<Readonly<Record<string, unknown>>> {
  return JSON.parse((await run(...args, "--json")).out) as Readonly<Record<string, unknown>>;
}

describe("jobwright schedules", () => {
  it("lists when what comes next, as a table and as JSON", async () => {
    const { code, out, error } = await run("list");
    expect({ code, error }).toEqual({ code: 0, error: "" });
    expect(out).toMatch(/^hourly\\u202e +works +default +every 3600 s +\d{4}-\S+Z *$/m);
    expect(out).toMatch(/^report +works +slow +0 9 \* \* 1-5 Asia\/Tokyo +\d{4}-\S+T00:00:00\.000Z *$/m);
    expect(await json("list")).toMatchObject({
      schedules: [
        { key: "hourly\u202e", timing: { kind: "every", everyMs: 3_600_000 }, lastTickAt: null },
        { key: "report", timing: { kind: "cron", zone: "Asia/Tokyo" }, declared: false, paused: false },
      ],
    });
  });

  it("pauses and resumes, and says when there is nothing to be done", async () => {
    expect(await run("pause", "report")).toEqual({ code: 0, out: 'Schedule "report" paused.\n', error: "" });
    expect((await run("list")).out).toMatch(/^report .* paused$/m);
    expect(await run("pause", "report")).toMatchObject({
      code: 1,
      out: "",
      error: expect.stringContaining("paused already") as string,
    });
    expect(await json("resume", "report")).toEqual({ key: "report", result: "resumed", jobId: null });
    expect(await json("resume", "report")).toEqual({ key: "report", result: "unchanged", jobId: null });
  });

  it("makes its job now, and takes it out", async () => {
    const { out } = await run("trigger", "report");
    const [, id = ""] = /^Schedule "report" triggered: job (\d+)\.\n$/.exec(out) ?? [];
    await place.use(async (jobs) => {
      await runUntilIdle(jobs.worker([works], { queues: ["slow"] }));
      expect(await jobs.get(id)).toMatchObject({ name: "works", queue: "slow", state: "completed" });
    });
    // What happened to the job is shown, and what its handler said.
    const shown = await runPlain(["jobs", "show", id, "--url", place.url]);
    expect(shown.out).toMatch(/^progress +50 %, half$/m);
    expect(shown.out).toMatch(/^WHEN .*\n\S+ +enqueued *\n\S+ +completed *$/m);
    expect(shown.out).toMatch(/^LOGGED .*\n\S+ +1 +warn +so far\\u202e$/m);
    expect(await json("remove", "report")).toEqual({ key: "report", result: "removed", jobId: null });
    for (const verb of ["pause", "resume", "trigger", "remove"]) {
      expect(await run(verb, "report")).toEqual({
        ...{ code: 4, out: "" },
        error: 'There is no schedule "report".\n',
      });
    }
  });

  it("refuses what makes no sense", async () => {
    for (const args of [["pause"], ["pause", ""], ["list", "x"], ["stop", "x"], []]) {
      expect(await run(...args)).toMatchObject({ code: 2, out: "" });
    }
  });
});
