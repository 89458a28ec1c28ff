import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { built, root } from "./support/built.ts";
import { temporaryFolder } from "./support/folders.ts";
import { ownFiles, readOwn } from "./support/source-files.ts";

// Goal: an example does what it says. Method: run it with Node alone, as a reader would, and compare what
// it prints with its last comment.

const MARK = "\n// prints:\n";
const LINES_MAX = 40;
/** Where several programs play together; see below. */
const SERVER = "examples/server/";
/** Its threads have loggers of their own. */
const LOGS = "examples/supervisor/main.mjs";

const files = ownFiles("examples")
  .map((path) => (path.startsWith("examples/") ? path : `examples/${path}`))
  .filter((path) => path.endsWith(".mjs") && !path.startsWith("examples/duplicates/"));
/** Those that print something: the others are parts of them. */
const programs = files.filter((path) => readOwn(path).includes(MARK));
const alone = programs.filter((path) => !path.startsWith(SERVER));

beforeAll(built);

describe("the examples", () => {
  it("are all there", () => {
    expect(programs.map((path) => path.slice("examples/".length))).toEqual([
      "batch.mjs",
      "checkpoint.mjs",
      "crash/main.mjs",
      "dead-jobs.mjs",
      "durable.mjs",
      "error.mjs",
      "events.mjs",
      "hello.mjs",
      "history-and-stats.mjs",
      "in-one-process.mjs",
      "limit.mjs",
      "long-job.mjs",
      "middleware.mjs",
      "outcomes.mjs",
      "progress-and-logs.mjs",
      "queues-and-priorities.mjs",
      "results.mjs",
      "schedule-and-retry.mjs",
      "schedules.mjs",
      "server/server.mjs",
      "server/spawner.mjs",
      "server/worker.mjs",
      "shutdown.mjs",
      "supervisor/main.mjs",
      "telemetry.mjs",
      "test-kit.mjs",
      "testing-faults.mjs",
      "testing-perform.mjs",
      "thread/main.mjs",
      "unique.mjs",
      "waiting-for-many.mjs",
      "zod-payload.mjs",
    ]);
    const rest = files.filter(
      (path) => !programs.includes(path) && !/^examples\/[\w-]+\/[\w-]+\.mjs$/.test(path),
    );
    expect(rest, 'a program needs a "// prints:" comment at its end').toEqual([]);
  });

  it("are listed in their README", () => {
    const table = readOwn("examples/README.md");
    const missing = programs.filter((path) => !table.includes(`](${path.slice("examples/".length)})`));
    expect(missing).toEqual([]);
  });

  it.each(alone)("%s prints what its last comment says", async (path) => {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [path], { cwd: root });
    expect(stderr).toMatch(path === LOGS ? /^(?:jobwright (?:warn|error) .*\n)*$/ : /^$/);
    expect(stdout).toBe(expectedOf(path));
  });

  it.each(files)("%s is short", (path) => {
    expect(readOwn(path).split(MARK)[0]?.split("\n").length).toBeLessThan(LINES_MAX);
  });
});

describe("the three programs around a job server", () => {
  const folders = temporaryFolder();
  const running = new Set<ChildProcess>();
  afterEach(() => {
    for (const child of running) child.kill("SIGKILL");
  });
  afterAll(() => folders.remove());

  it("print what their last comments say, and end when they are told to", async () => {
    const server = start("server.mjs", folders.make(), "0");
    await server.says("\n");
    const url = server.out().trim().split(" ").at(-1) ?? "";
    // In any order: the jobs wait for the worker.
    const spawner = start("spawner.mjs", url);
    const worker = start("worker.mjs", url);
    expect(await spawner.end()).toEqual({ code: 0, err: "" });
    for (const program of [worker, server]) {
      program.child.kill("SIGTERM");
      expect(await program.end()).toEqual({ code: 0, err: "" });
    }

    const port = new URL(url).port;
    expect(server.out().replace(port, "7420")).toBe(expectedOf(`${SERVER}server.mjs`));
    expect(spawner.out()).toBe(expectedOf(`${SERVER}spawner.mjs`));
    expect(worker.out()).toBe(expectedOf(`${SERVER}worker.mjs`));
  });

  interface Program {
    readonly child: ChildProcess;
    out(): string;
    /** Until it has printed this, or has ended. */
    says(text: string): Promise<void>;
    end(): Promise<{ code: number | null; err: string }>;
  }

  function start(file: string, ...args: string[]): Program {
    const child = spawn(process.execPath, [SERVER + file, ...args], { cwd: root });
    running.add(child);
    let out = "";
    let err = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (err += text));
    const closed = once(child, "close").finally(() => running.delete(child));
    return {
      child,
      out: () => out,
      says: async (text) => {
        while (!out.includes(text) && running.has(child)) {
          await Promise.race([once(child.stdout, "data"), closed]);
        }
        expect(out, err).toContain(text);
      },
      end: async () => {
        const [code] = (await closed) as [number | null];
        return { code, err };
      },
    };
  }
});

function expectedOf(path: string): string {
  const [, comment] = readOwn(path).split(MARK);
  const expected = comment?.replaceAll(/^\/\/ ?/gm, "") ?? "";
  expect(expected.trim(), `${path} needs a "// prints:" comment at its end`).not.toBe("");
  return expected;
}
