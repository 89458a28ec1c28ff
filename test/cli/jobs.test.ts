import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { changeMatching } from "../../src/cli/change-matching.ts";
import { connect } from "../../src/connect.ts";
import { defineJob } from "../../src/job/definition.ts";
import { silentLogger } from "../../src/logger.ts";
import { runUntilIdle } from "../../src/testing/index.ts";
import { type Ran, run as runPlain, type Surroundings } from "./fake-terminal.ts";
import { type Folder, folder } from "./store.ts";

// Goal: what an operator sees and changes through the command line is what the storage holds.
// Method: the commands in this process, on a store that is also looked at through the library.

let place: Folder;
beforeAll(() => (place = folder()));
afterAll(() => place[Symbol.dispose]());

const works = defineJob({ name: "works", run: () => ({ sum: 42 }) });
const fails = defineJob({
  name: "fails",
  queue: "risky",
  maxRetries: 0,
  run: () => {
    throw new TypeError("no such thing");
  },
});

function run(args: readonly string[], surroundings: Surroundings = {}): Promise<Ran> {
  return runPlain([...args, "--url", place.url], surroundings);
}

async function json<T>(...args: string[]): Promise<T> {
  const { code, out, error } = await run([...args, "--json"]);
  expect({ code, error }).toEqual({ code: 0, error: "" });
  // One document, on one line.
  expect(out).toMatch(/^[^\n]+\n$/);
  return JSON.parse(out) as T;
}

interface JobJson {
  readonly id: string;
  readonly state: string;
  readonly [key: string]: unknown;
}

interface Page {
  readonly jobs: readonly JobJson[];
  readonly next: string | null;
}

/** A fresh store, with so many jobs of each kind done, dead and waiting. */
async function fresh(counts: { completed?: number; dead?: number; waiting?: number }): Promise<void> {
  place[Symbol.dispose]();
  place = folder();
  await place.use(async (jobs) => {
    const { completed = 0, dead = 0, waiting = 0 } = counts;
    for (let n = 0; n < completed; n += 1) await jobs.enqueue(works, { n });
    for (let n = 0; n < dead; n += 1) await jobs.enqueue(fails, { n }, n % 2 === 0 ? { tags: ["even"] } : {});
    await runUntilIdle(jobs.worker([works, fails]));
    for (let n = 0; n < waiting; n += 1) await jobs.enqueue(works, { n });
  });
}

describe("jobwright enqueue", () => {
  beforeAll(() => fresh({}));

  it("stores a job with what was said, and prints its id", async () => {
    const at = "2040-01-31T08:00:00+01:00";
    const said = [
      "--queue",
      "mail",
      "--priority",
      "-7",
      "--max-retries",
      "infinity",
      "--at",
      at,
      "--tag",
      "a",
      "--tag",
      "b c",
    ];
    const { id, created } = await json<{ id: string; created: boolean }>(
      "enqueue",
      "greet",
      "--payload",
      '{"who":"you"}',
      ...said,
    );
    expect(created).toBe(true);
    const job = await place.use((jobs) => jobs.get(id));
    expect(job).toMatchObject({
      ...{ name: "greet", queue: "mail", priority: -7, state: "scheduled", payload: { who: "you" } },
      ...{ maxRetries: Number.POSITIVE_INFINITY, tags: ["a", "b c"], runAt: new Date(at) },
    });
    expect(await run(["enqueue", "greet"])).toMatchObject({
      code: 0,
      out: `Job ${Number(id) + 1} is stored.\n`,
    });
    expect(await place.use((jobs) => jobs.get(String(Number(id) + 1)))).toMatchObject({
      ...{ state: "available", payload: null, queue: "default", priority: 0, maxRetries: 5 },
    });
  });

  it("starts later by a time, too", async () => {
    const before = Date.now();
    const { id } = await json<{ id: string }>("enqueue", "later", "--in", "2h");
    const runAt = (await place.use((jobs) => jobs.get(id)))?.runAt.getTime() ?? 0;
    expect(runAt - before).toBeGreaterThanOrEqual(7_200_000);
    expect(runAt - before).toBeLessThan(7_260_000);
  });

  it("reads the payload from a file or from standard input", async () => {
    const path = join(place.path, "payload.json");
    writeFileSync(path, '[1, "two"]\n');
    const fromFile = await json<{ id: string }>("enqueue", "greet", "--payload", `@${path}`);
    const typed = await run(["enqueue", "greet", "--json", "--payload", "-"], { input: '{"a": [null]}' });
    const payloads = await place.use(async (jobs) => [
      (await jobs.get(fromFile.id))?.payload,
      (await jobs.get((JSON.parse(typed.out) as { id: string }).id))?.payload,
    ]);
    expect(payloads).toEqual([[1, "two"], { a: [null] }]);
  });

  it("stores a job of one id once", async () => {
    const first = await json<{ id: string; created: boolean }>(
      "enqueue",
      "greet",
      "--id",
      "order-1",
      "--payload",
      "1",
    );
    expect(await json("enqueue", "greet", "--id", "order-1", "--payload", "1")).toEqual({
      id: first.id,
      created: false,
    });
    expect((await run(["enqueue", "greet", "--id", "order-1", "--payload", "1"])).out).toContain(
      "nothing was stored",
    );
    expect(await run(["enqueue", "greet", "--id", "order-1", "--payload", "2"])).toMatchObject({
      code: 1,
      out: "",
    });
  });

  it.each([
    ["no name", []],
    ["two names", ["a", "b"]],
    ["an empty name", [""]],
    ["a name with a line break", ["a\nb"]],
    ["no JSON", ["a", "--payload", "{secret-payload: 1}"]],
    ["half a JSON", ["a", "--payload", '{"secret-payload":']],
    ["a file that is not there", ["a", "--payload", "@nowhere.json"]],
    ["an instant without a zone", ["a", "--at", "2030-01-01T00:00:00"]],
    ["a date alone", ["a", "--at", "2030-01-01"]],
    ["no instant", ["a", "--at", "2030-02-31T99:00:00Z"]],
    ["a time that is none", ["a", "--in", "soon"]],
    ["both", ["a", "--in", "1h", "--at", "2030-01-01T00:00:00Z"]],
    ["a priority out of range", ["a", "--priority", "1001"]],
    ["half a priority", ["a", "--priority", "1.5"]],
    ["retries below none", ["a", "--max-retries", "-1"]],
    ["a payload too large", ["a", "--payload", JSON.stringify("x".repeat(2 ** 20))]],
  ])("is refused with one line, and nothing is stored: %s", async (_, args) => {
    const count = await place.use((jobs) => jobs.count());
    const { code, out, error } = await run(["enqueue", ...args]);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(error).toMatch(/^[^\n]+\n$/);
    expect(error).not.toContain("secret-payload");
    expect(error.length).toBeLessThan(500);
    expect(await place.use((jobs) => jobs.count())).toEqual(count);
  });

  it("does not read more from standard input than could be stored", async () => {
    const { code, error } = await run(["enqueue", "a", "--payload", "-"], { input: " ".repeat(2 ** 21 + 1) });
    expect(code).toBe(2);
    expect(error).toContain("The payload is 2097153 bytes");
  });
});

describe("jobwright jobs list", () => {
  beforeAll(() => fresh({ completed: 3, dead: 5, waiting: 2 }));

  it("lists all states in turn, in pages that have each job once", async () => {
    const seen: JobJson[] = [];
    let after: string[] = [];
    for (let page = 0; page < 20; page += 1) {
      const { jobs, next } = await json<Page>("jobs", "list", "--limit", "2", ...after);
      expect(jobs.length).toBeGreaterThan(0);
      expect(jobs.length).toBeLessThanOrEqual(2);
      seen.push(...jobs);
      if (next === null) break;
      after = ["--after", next];
    }
    expect(seen.map(({ state }) => state)).toEqual([
      ...Array.from({ length: 2 }, () => "available"),
      ...Array.from({ length: 5 }, () => "dead"),
      ...Array.from({ length: 3 }, () => "completed"),
    ]);
    expect(new Set(seen.map(({ id }) => id)).size).toBe(10);
    expect((await json<Page>("jobs", "list")).jobs).toEqual(seen);
  });

  it("says there is more only when there is", async () => {
    expect(await json<Page>("jobs", "list", "--limit", "10")).toMatchObject({ next: null });
    // Behind the last dead job there are further states, with nothing that fits.
    expect(await json<Page>("jobs", "list", "--limit", "5", "--name", "fails")).toMatchObject({ next: null });
    expect((await run(["jobs", "list", "--limit", "10"])).error).toBe("");
    expect((await run(["jobs", "list", "--limit", "9"])).error).toMatch(
      /^There are more: repeat with --after completed:/,
    );
  });

  it.each<[string[], number]>([
    [["--state", "dead"], 5],
    [["--state", "running"], 0],
    [["--queue", "risky"], 5],
    [["--queue", "nowhere"], 0],
    [["--name", "works"], 5],
    [["--state", "available", "--name", "works", "--queue", "default"], 2],
    [["--tag", "even"], 3],
    [["--tag", "even", "--state", "dead"], 3],
    [["--tag", "even", "--state", "completed"], 0],
  ])("filters by %j", async (args, n) => {
    expect((await json<Page>("jobs", "list", ...args)).jobs).toHaveLength(n);
  });

  it("has the documented keys, always", async () => {
    const { jobs } = await json<Page>("jobs", "list");
    const shown = await json<JobJson>("jobs", "show", jobs[2]?.id ?? "");
    for (const job of jobs) {
      const more = { attempts: [], history: [], logs: [] };
      expect(Object.keys({ ...job, ...more })).toEqual(Object.keys(shown));
    }
    expect(jobs[2]).toMatchObject({
      ...{ name: "fails", queue: "risky", state: "dead", attempt: 1, maxRetries: 0, result: null },
      error: { name: "TypeError", message: "no such thing" },
    });
  });

  it("is a table that fits the terminal", async () => {
    const wide = (await run(["jobs", "list"])).out.trimEnd().split("\n");
    expect(wide).toHaveLength(11);
    expect(wide[0]).toMatch(/^ID +STATE +NAME +QUEUE +ATTEMPT +AT +NOTE$/);
    expect(wide[3]).toMatch(/^\d+ +dead +fails +risky +1\/1 +\S+Z +TypeError: no such thing$/);
    for (const columns of [80, 60, 40, 10]) {
      const lines = (await run(["jobs", "list"], { columns })).out.trimEnd().split("\n");
      expect(lines).toHaveLength(11);
      expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(columns);
    }
  });

  it("says so when there are none", async () => {
    expect(await run(["jobs", "list", "--queue", "nowhere"])).toEqual({
      ...{ code: 0, out: "", error: "There are no such jobs.\n" },
    });
  });

  it("ends a page that has become large, and goes on behind it", async () => {
    const sizes: number[] = [];
    await place.use(async (jobs) => {
      const large = "x".repeat(1_000_000);
      await jobs.enqueueMany(
        works,
        Array.from({ length: 15 }, () => large),
        { queue: "large" },
      );
      await jobs.enqueueMany(
        works,
        Array.from({ length: 15 }, () => large),
        { queue: "large" },
      );
    });
    let after: string[] = [];
    for (let next: string | null = ""; next !== null; after = ["--after", next ?? ""]) {
      const page: Page = await json<Page>("jobs", "list", "--queue", "large", ...after);
      sizes.push(page.jobs.length);
      next = page.next;
    }
    expect(sizes.reduce((sum, n) => sum + n, 0)).toBe(30);
    expect(Math.max(...sizes)).toBeLessThan(20);
    await run(["jobs", "remove", "--all", "--state", "available", "--queue", "large", "--yes"]);
  });

  it.each([
    ["an unknown state", ["--state", "failed"]],
    ["a limit of none", ["--limit", "0"]],
    ["a limit beyond the page", ["--limit", "1001"]],
    ["a page of another state", ["--state", "dead", "--after", "completed:"]],
    ["a page that is none", ["--after", "x"]],
    ["a word too many", ["dead"]],
  ])("refuses %s", async (_, args) => {
    expect(await run(["jobs", "list", ...args])).toMatchObject({ code: 2, out: "" });
  });
});

describe("jobwright jobs show", () => {
  beforeAll(() => fresh({ completed: 1, dead: 1 }));

  it("shows a job in full", async () => {
    const [dead, completed] = (await json<Page>("jobs", "list")).jobs;
    const { out } = await run(["jobs", "show", dead?.id ?? ""]);
    expect(out).toMatch(/^name {2,}fails$/m);
    expect(out).toMatch(/^state {2,}dead$/m);
    expect(out).toMatch(/^payload {2,}\{"n":0\}$/m);
    expect(out).toMatch(/^tags {2,}even$/m);
    expect(out).toMatch(/^error {2,}TypeError: no such thing$/m);
    expect(out).toMatch(/^ {2}at .*jobs\.test\.ts/m);
    expect(out).toMatch(/^FAILURE +STARTED +RAN +PROCESS +ERROR\n1 .*TypeError: no such thing$/m);
    expect((await run(["jobs", "show", completed?.id ?? ""])).out).toMatch(/^result {2,}\{"sum":42\}$/m);
    const shown = await json<{ attempts: { number: number; error: object }[] }>(
      "jobs",
      "show",
      dead?.id ?? "",
    );
    expect(shown.attempts).toMatchObject([{ number: 1, attempt: 1, error: { message: "no such thing" } }]);
  });

  it("knows no other", async () => {
    expect(await run(["jobs", "show", "999999"])).toMatchObject({ code: 4, out: "" });
    expect(await run(["jobs", "show", "999999", "--json"])).toMatchObject({ code: 4, out: "" });
    for (const id of ["x", "0", "-1", "1.5", "1e3", ""]) {
      expect(await run(["jobs", "show", id])).toMatchObject({ code: 2, out: "" });
    }
  });
});

describe("jobwright jobs retry, cancel and remove", () => {
  const states = (): Promise<Record<string, number>> =>
    place.use(async (jobs) => {
      const counts: Record<string, number> = {};
      for (const state of ["available", "dead", "completed", "cancelled"] as const) {
        counts[state] = (await jobs.count({ state })).n;
      }
      return counts;
    });

  it("change jobs by number, and say what became of each", async () => {
    await fresh({ dead: 2, waiting: 2 });
    const ids = (await json<Page>("jobs", "list")).jobs.map(({ id }) => id);
    const [waiting = "", other = "", dead = "", gone = ""] = ids;
    expect(await run(["jobs", "retry", dead])).toEqual({
      code: 0,
      out: `Job ${dead}: retried.\n`,
      error: "",
    });
    expect(await run(["jobs", "retry", waiting])).toEqual({
      ...{ code: 1, out: "", error: `Job ${waiting} was not retried: it is available.\n` },
    });
    expect(await run(["jobs", "cancel", waiting, "--reason", "by hand"])).toMatchObject({ code: 0 });
    expect(await place.use((jobs) => jobs.get(waiting))).toMatchObject({
      state: "cancelled",
      reason: "by hand",
    });
    expect(await json("jobs", "remove", gone, other)).toEqual({
      results: [gone, other].map((id) => ({ id, result: "removed" })),
    });
    const mixed = await run(["jobs", "remove", dead, gone, "--json"]);
    expect({ ...mixed, out: JSON.parse(mixed.out) as unknown }).toEqual({
      ...{ code: 4, error: "" },
      out: {
        results: [
          { id: dead, result: "removed" },
          { id: gone, result: "missing" },
        ],
      },
    });
    expect(await run(["jobs", "cancel", gone])).toMatchObject({ code: 4, out: "" });
  });

  it("change nothing when one of the numbers is none", async () => {
    await fresh({ dead: 1 });
    const id = (await json<Page>("jobs", "list")).jobs[0]?.id ?? "";
    expect(await run(["jobs", "remove", id, "x"])).toMatchObject({ code: 2, out: "" });
    expect(await states()).toMatchObject({ dead: 1 });
  });

  it("change all that a filter finds, once the number was seen", async () => {
    await fresh({ completed: 2, dead: 7, waiting: 3 });
    const all = ["--all", "--state", "dead"];
    expect((await run(["jobs", "retry", ...all])).out).toBe(
      "7 jobs would be retried. Repeat with --yes to do it.\n",
    );
    expect(await json("jobs", "retry", ...all, "--tag", "even")).toEqual({
      ...{ matching: 4, exact: true, changed: 0, unchanged: 0 },
    });
    expect(await states()).toEqual({ available: 3, dead: 7, completed: 2, cancelled: 0 });
    expect(await json("jobs", "retry", ...all, "--tag", "even", "--yes")).toEqual({
      ...{ matching: 4, exact: true, changed: 4, unchanged: 0 },
    });
    expect(await states()).toEqual({ available: 7, dead: 3, completed: 2, cancelled: 0 });
    expect((await run(["jobs", "remove", ...all, "--queue", "nowhere", "--yes"])).out).toBe(
      "0 jobs removed.\n",
    );
    expect((await run(["jobs", "remove", ...all, "--yes"])).out).toBe("3 jobs removed.\n");
    expect(
      (await run(["jobs", "cancel", "--all", "--state", "available", "--name", "works", "--yes"])).out,
    ).toBe("3 jobs cancelled.\n");
    expect(await states()).toEqual({ available: 4, dead: 0, completed: 2, cancelled: 3 });
  });

  it("change more jobs than a page holds", async () => {
    await fresh({});
    const n = 1_203;
    await place.use((jobs) =>
      jobs.enqueueMany(
        works,
        Array.from({ length: n }, (_, i) => i),
      ),
    );
    expect((await run(["jobs", "cancel", "--all", "--state", "available", "--yes"])).out).toBe(
      `${n} jobs cancelled.\n`,
    );
    expect((await run(["jobs", "remove", "--all", "--state", "cancelled", "--yes"])).out).toBe(
      `${n} jobs removed.\n`,
    );
    expect(await place.use((jobs) => jobs.count())).toEqual({ n: 0, exact: true });
  });

  it("leave alone what is enqueued meanwhile, and so come to an end", async () => {
    await using jobs = await connect("memory:", { logger: silentLogger });
    await jobs.enqueueMany(
      works,
      Array.from({ length: 501 }, (_, i) => i),
    );
    let changes = 0;
    const { matching } = await changeMatching(jobs, { state: "available" }, async (id) => {
      changes += 1;
      if (changes > 5_000) throw new Error("It does not end.");
      await Promise.all([jobs.cancel(id), jobs.enqueue(works, 0)]);
      return { done: true };
    });
    expect(matching).toBeGreaterThanOrEqual(501);
    // Those of the same millisecond count as there before.
    expect(matching).toBeLessThan(1_501);
  });

  it.each([
    ["nothing to do it to", ["retry"]],
    ["a filter without --all", ["remove", "--state", "dead"]],
    ["--all without a state", ["remove", "--all"]],
    ["--all and numbers", ["remove", "1", "--all", "--state", "dead"]],
    ["a state that cannot be retried", ["retry", "--all", "--state", "running"]],
    ["a state that cannot be removed", ["remove", "--all", "--state", "running"]],
    ["a state that is over", ["cancel", "--all", "--state", "dead"]],
    ["no command", []],
    ["an unknown command", ["purge"]],
  ])("refuse %s", async (_, args) => {
    const { code, out, error } = await run(["jobs", ...args]);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(error).toMatch(/^[^\n]+\n$/);
  });
});

describe("jobwright queues, processes and stats", () => {
  beforeAll(() => fresh({ completed: 1, dead: 2, waiting: 3 }));

  interface QueueJson {
    readonly queue: string;
    readonly paused: boolean;
    readonly servedBy: number;
    readonly counts: Record<string, number>;
    readonly names: readonly { readonly name: string; readonly paused: boolean }[];
  }
  const list = async (...args: string[]): Promise<readonly QueueJson[]> =>
    (await json<{ queues: QueueJson[] }>("queues", "list", ...args)).queues;

  it("count", async () => {
    expect(await list()).toMatchObject([
      { queue: "default", servedBy: 0, counts: { available: 3, completed: 1 }, names: [{ name: "works" }] },
      { queue: "risky", counts: { dead: 2 }, names: [{ name: "fails" }] },
    ]);
    expect((await list("--name", "fails")).map(({ queue }) => queue)).toEqual(["risky"]);
    expect((await run(["queues", "list"])).out).toMatch(/^default +works +0 +0 +3 +.*nobody serves it$/m);
    expect(await json("stats")).toEqual({
      jobs: { scheduled: 0, available: 3, blocked: 0, running: 0, completed: 1, cancelled: 0, dead: 2 },
      ...{ queues: 2, paused: 0, processes: 0, lost: 0 },
    });
    expect((await run(["stats"])).out).toMatch(/^available {2,}3$/m);
  });

  it("pause and resume a queue, or one name in it", async () => {
    expect(await run(["queues", "pause", "risky"])).toMatchObject({
      code: 0,
      out: 'Queue "risky" paused.\n',
    });
    expect((await list())[1]).toMatchObject({ queue: "risky", paused: true });
    expect(await json<{ paused: number }>("stats")).toMatchObject({ paused: 1 });
    expect(await json("queues", "resume", "risky")).toEqual({ queue: "risky", name: null, paused: false });
    expect((await list())[1]).toMatchObject({ paused: false });
    await run(["queues", "pause", "default", "--name", "works"]);
    expect((await list())[0]).toMatchObject({ paused: false, names: [{ paused: true }] });
    expect((await run(["queues", "resume", "default", "--name", "works"])).out).toBe(
      'Jobs "works" of queue "default" resumed.\n',
    );
    expect((await list())[0]).toMatchObject({ names: [{ paused: false }] });
    for (const args of [
      ["pause"],
      ["pause", ""],
      ["pause", "a\nb"],
      ["pause", "a", "b"],
      ["stop", "a"],
      [],
    ]) {
      expect(await run(["queues", ...args])).toMatchObject({ code: 2, out: "" });
    }
  });

  it("name who works", async () => {
    expect(await run(["processes"])).toEqual({ code: 0, out: "", error: "No process works here.\n" });
    expect(await json("processes")).toEqual({ processes: [] });
    await place.use(async (jobs) => {
      const worker = jobs.worker([works], { name: "left", queues: { quiet: 3 } });
      await worker.start();
      const { processes } = await json<{ processes: object[] }>("processes");
      expect(processes).toMatchObject([
        {
          ...{ id: worker.processId, name: "left", pid: process.pid, running: 0, lost: false },
          queues: [{ queue: "quiet", names: ["works"], concurrency: 3 }],
        },
      ]);
      expect((await run(["processes"])).out).toMatch(/^\S+ +left +.* quiet=3$/m);
      expect((await json<{ processes: number }>("stats")).processes).toBe(1);
    });
  });
});
