import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Jobs } from "../../src/jobs.ts";
import { type AnyJobDefinition, defineJob } from "../../src/job/definition.ts";
import { root } from "../support/built.ts";
import { begin, type Going, run, type Surroundings } from "./fake-terminal.ts";
import { type Folder, folder } from "./store.ts";

// Goal: `jobwright work` runs what modules export with the settings that are nearest, says when it is ready, and
// gives everything back when it is told to stop. What only a process of its own can show is in programs.test.ts.

const child = (name: string): string => join(root, "test/cli/child", name);
const add = defineJob({ name: "add" });
const double = defineJob({ name: "double" });

let place: Folder;
let going: Going | undefined;
beforeEach(() => (place = folder()));
afterEach(async () => {
  await going?.terminal.signal();
  going = undefined;
  place[Symbol.dispose]();
});

async function work(args: readonly string[], surroundings: Surroundings = {}): Promise<Going> {
  going = await begin(["work", ...args, "--url", place.url], /^(?:Working|\{).*\n/m, surroundings);
  return going;
}

async function resultOf(jobs: Jobs, definition: AnyJobDefinition, payload: unknown): Promise<unknown> {
  return (await jobs.enqueue(definition, payload)).result({ timeout: "30s" });
}

describe("jobwright work", () => {
  it("runs what a module exports until it is told to stop", async () => {
    const { terminal, ended } = await work([child("jobs.mjs"), "--json"]);
    expect(JSON.parse(terminal.text)).toEqual({
      ...{ storage: place.url, processes: 1, threads: 0 },
      names: ["add", "endless", "resize", "stray"],
      queues: [
        { queue: "default", concurrency: 10 },
        { queue: "images", concurrency: 10 },
      ],
    });
    await place.use(async (jobs) => {
      expect(await resultOf(jobs, add, { a: 2, b: 3 })).toEqual({ sum: 5 });
      expect(await jobs.processes()).toMatchObject([{ name: "from the module", lost: false }]);
    });
    await terminal.signal();
    expect(await ended).toMatchObject({ code: 0, error: "" });
    expect(terminal.isHeld).toBe(false);
    expect(await place.use((jobs) => jobs.processes())).toEqual([]);
  });

  it("reads TypeScript, and several modules", async () => {
    const { terminal } = await work([child("typed.ts"), child("jobs.mjs")]);
    expect(terminal.text).toBe(
      `Working on ${place.url}: add, double, endless, resize, stray; queues default=10, images=10\n`,
    );
    await place.use(async (jobs) => expect(await resultOf(jobs, double, 21)).toBe(42));
  });

  it("takes flags before the environment before the file before the module", async () => {
    writeFileSync(
      join(place.path, "jobwright.config.json"),
      JSON.stringify({
        modules: [child("jobs.mjs")],
        queues: { file: 2 },
        name: "of the file",
        concurrency: 4,
      }),
    );
    const served = async (args: string[], env: Record<string, string>): Promise<[unknown, unknown]> => {
      const { terminal, ended } = await work(args, { cwd: place.path, env });
      const [process] = await place.use((jobs) => jobs.processes());
      await terminal.signal();
      expect(await ended).toMatchObject({ code: 0 });
      const queues = process?.queues.map(({ queue, concurrency }) => [queue, concurrency]);
      return [process?.name, Object.fromEntries(queues ?? [])];
    };
    const env = { JOBWRIGHT_QUEUES: "env,both=7", JOBWRIGHT_CONCURRENCY: "5" };
    expect(await served([], {})).toEqual(["of the file", { file: 2 }]);
    expect(await served([], env)).toEqual(["of the file", { env: 5, both: 7 }]);
    expect(await served(["--queues", "flag", "--name", "of the flag"], env)).toEqual([
      "of the flag",
      { flag: 5 },
    ]);
    expect(await served(["--queues", "flag", "--concurrency", "6"], env)).toEqual([
      "of the file",
      { flag: 6 },
    ]);
  });

  it("serves all queues there are when it is told so", async () => {
    await place.use((jobs) => jobs.enqueue(add, { a: 1, b: 1 }, { queue: "far away" }));
    const { terminal } = await work([child("jobs.mjs"), "--queues", "*"]);
    expect(terminal.text).toMatch(/queues far away=10\n$/);
    await place.use(async (jobs) => {
      const { jobs: waiting } = await jobs.list({ state: "available" });
      for (const { id } of waiting) await jobs.handle(id).result({ timeout: "30s" });
      expect((await jobs.count({ state: "completed" })).n).toBe(1);
    });
  });

  it("fails in order when an error is caught by nobody", async () => {
    const { terminal, ended } = await work([child("jobs.mjs")]);
    terminal.stray(new RangeError("nobody\u001b[31m caught\nthis"));
    expect(await ended).toMatchObject({
      ...{
        code: 1,
        error: "an error that nobody caught: RangeError: nobody\\u001b[31m caught this. It stops.\n",
      },
    });
    expect(await place.use((jobs) => jobs.processes())).toEqual([]);
  });

  it.each<[string, string[], RegExp]>([
    ["no module", [], /^<module\.\.\.> is undefined/],
    ["a module that is not there", ["nowhere.mjs"], /There is no such file/],
    ["a module without jobs", [child("../fake-terminal.ts")], /exports no job/],
    ["two modules with one name", [child("jobs.mjs"), child("twice.mjs")], /Two jobs are named "add"/],
    ["slots of no number", [child("jobs.mjs"), "--concurrency", "many"], /^--concurrency is "many"/],
    ["no slots", [child("jobs.mjs"), "--concurrency", "0"], /^concurrency is 0/],
    ["all queues and one", [child("jobs.mjs"), "--queues", "a,*"], /stands alone/],
    [
      "both kinds",
      [child("jobs.mjs"), "--processes", "2", "--threads", "2"],
      /either --processes or --threads/,
    ],
    ["no processes", [child("jobs.mjs"), "--processes", "0"], /^processes is 0/],
    ["too many threads", [child("jobs.mjs"), "--threads", "1000"], /^threads is 1000/],
    ["a name that is none", [child("jobs.mjs"), "--name", "a\nb"], /^worker name is/],
  ])("refuses %s", async (_, args, message) => {
    const { code, out, error } = await run(["work", ...args, "--url", place.url]);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(error).toMatch(message);
    expect(error).toMatch(/^[^\n]+\n$/);
  });

  it("refuses a storage that nobody else reaches", async () => {
    expect(await run(["work", child("jobs.mjs"), "--url", "memory:"])).toMatchObject({
      ...{ code: 2, error: expect.stringContaining("jobwright serve memory:") as string },
    });
  });

  it("ends with 3 when its storage cannot be reached", async () => {
    for (const more of [[], ["--processes", "2"], ["--threads", "2"]]) {
      const url = "ws://:s3cret-s3cret-s3cret@127.0.0.1:1";
      const args = ["work", child("jobs.mjs"), "--url", url, "--timeout", "200ms", ...more];
      const { code, out, error } = await run(args);
      expect({ code, out }).toEqual({ code: 3, out: "" });
      expect(error).toMatch(/ws:\/\/127\.0\.0\.1:1 did not answer within 200 ms/);
      expect(error).not.toContain("s3cret");
    }
  });

  it("ends with 1 when the state of its handlers cannot be made", async () => {
    const { code, out, error } = await run(["work", child("no-state.mjs"), "--url", place.url]);
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(error).toBe("Error: no state today\n");
  });
});
