import { type ChildProcessByStdio, spawn } from "node:child_process";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { connect } from "../../src/connect.ts";
import { silentLogger } from "../../src/logger.ts";
import { buildChildren } from "../crash/scene.ts";
import { root } from "../support/built.ts";
import { type Folder, folder } from "./store.ts";

// Goal: what needs a process of its own: signals, exit codes, standard streams, and several programs on one store.
// Method: the program as npm installs it.

const child = (name: string): string => join(root, "test/cli/child", name);

let place: Folder;
let programs: Program[] = [];
beforeAll(buildChildren);
beforeEach(() => (place = folder()));
afterEach(async () => {
  for (const { process } of programs) process.kill("SIGKILL");
  await Promise.all(programs.map(({ ended }) => ended));
  programs = [];
  place[Symbol.dispose]();
});

interface End {
  readonly code: number | null;
  readonly signal: string | null;
  readonly out: string;
  readonly error: string;
}

interface Program {
  readonly process: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly ended: Promise<End>;
  /** Resolves when it has written this to standard output; rejects when it ends before. */
  wrote(pattern: RegExp): Promise<string>;
}

function start(...args: string[]): Program {
  const dist = process.env["JOBWRIGHT_DIST"] ?? fileURLToPath(new URL("../../dist", import.meta.url));
  const { JOBWRIGHT_URL: _, ...env } = process.env;
  const running = spawn(process.execPath, [`${dist}/cli/main.js`, ...args], {
    stdio: ["pipe", "pipe", "pipe"],
    cwd: place.path,
    env,
  });
  let out = "";
  let error = "";
  let look: () => void = () => undefined;
  running.stdin.on("error", () => undefined);
  running.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
    look();
  });
  running.stderr.setEncoding("utf8").on("data", (text: string) => (error += text));
  const ended = new Promise<End>((resolve) => {
    running.once("close", (code, signal) => resolve({ code, signal, out, error }));
  });
  const program: Program = {
    process: running,
    ended,
    wrote: (pattern) =>
      new Promise((resolve, reject) => {
        look = () => pattern.test(out) && resolve(out);
        look();
        void ended.then((end) => reject(new Error(`It ended: ${JSON.stringify(end)}`)));
      }),
  };
  programs.push(program);
  return program;
}

async function json<T>(...args: string[]): Promise<T> {
  const { code, out, error } = await start(...args, "--json").ended;
  expect({ code, error }).toEqual({ code: 0, error: "" });
  return JSON.parse(out) as T;
}

describe("the program", () => {
  it("is a server, a worker and a spawner, in three processes", async () => {
    const server = start("serve", "lmdb:jobs", "--port", "0", "--json");
    const { url } = JSON.parse(await server.wrote(/\n/)) as { url: string };
    const worker = start("work", child("jobs.mjs"), "--url", url);
    await worker.wrote(/^Working on ws:/m);
    const { id } = await json<{ id: string }>("enqueue", "add", "--payload", '{"a":40,"b":2}', "--url", url);
    {
      await using jobs = await connect(url, { logger: silentLogger });
      expect(await jobs.handle(id).result({ timeout: "30s" })).toEqual({ sum: 42 });
    }
    worker.process.kill("SIGTERM");
    expect(await worker.ended).toMatchObject({ code: 0, signal: null, error: "" });
    server.process.kill("SIGINT");
    expect(await server.ended).toMatchObject({ code: 0, signal: null, error: "" });
    expect(await json<{ state: string }>("jobs", "show", id, "--url", "lmdb:jobs")).toMatchObject({
      state: "completed",
    });
  });

  it.each([
    ["processes", "--processes"],
    ["threads", "--threads"],
  ])("works in several %s, and ends them all", async (kind, flag) => {
    await place.use(async () => undefined);
    const worker = start("work", child("jobs.mjs"), flag, "2", "--url", place.url);
    expect(await worker.wrote(/^Working.*\n/m)).toBe(`Working on ${place.url} in 2 ${kind}\n`);
    const { id } = await json<{ id: string }>(
      "enqueue",
      "add",
      "--payload",
      '{"a":1,"b":2}',
      "--url",
      place.url,
    );
    await place.use(async (jobs) => {
      expect(await jobs.handle(id).result({ timeout: "30s" })).toEqual({ sum: 3 });
      expect(await jobs.processes()).toHaveLength(2);
    });
    worker.process.kill("SIGTERM");
    expect(await worker.ended).toMatchObject({ code: 0, signal: null, error: "" });
    expect(await place.use((jobs) => jobs.processes())).toEqual([]);
  });

  it("ends at once at a second signal", async () => {
    const worker = start("work", child("hears.mjs"), "--url", place.url);
    await worker.wrote(/^Working/m);
    await json("enqueue", "endless", "--url", place.url);
    await worker.wrote(/^endless began/m);
    worker.process.kill("SIGTERM");
    // The first one waits for the job, which has 20 s.
    await worker.wrote(/^heard/m);
    worker.process.kill("SIGTERM");
    expect(await worker.ended).toMatchObject({ code: 143, signal: null });
  });

  it("fails, with its other jobs ended in order, when a handler leaves an error that nobody catches", async () => {
    const worker = start("work", child("jobs.mjs"), "--url", place.url);
    await worker.wrote(/^Working/m);
    const { id } = await json<{ id: string }>("enqueue", "stray", "--url", place.url);
    const { code, error } = await worker.ended;
    expect(code).toBe(1);
    expect(error).toBe(
      "jobwright: an error that nobody caught: Error: nobody\\u001b[31m caught this. It stops.\n",
    );
    await place.use(async (jobs) => {
      expect(await jobs.get(id)).toMatchObject({ state: "completed", result: "done" });
      expect(await jobs.processes()).toEqual([]);
    });
  });

  it("ends with a code of its own for each kind of failure, in one line", async () => {
    await place.use(async () => undefined);
    const ends = await Promise.all(
      [
        ["stats", "--url", "lmdb:jobs"],
        ["serve", "memory:", "--token-file", "nowhere"],
        ["work", "nowhere.mjs", "--url", "lmdb:jobs"],
        ["stats", "--url", "ws://127.0.0.1:1", "--timeout", "100ms"],
        ["work", child("no-state.mjs"), "--processes", "2", "--url", "lmdb:jobs"],
        ["jobs", "show", "7", "--url", "lmdb:jobs"],
        ["jobs", "retry", "7", "--url", "lmdb:jobs", "--json"],
      ].map((args) => start(...args).ended),
    );
    expect(ends.map(({ code }) => code)).toEqual([0, 2, 2, 3, 1, 4, 4]);
    for (const { code, error } of ends.slice(1, -1))
      expect({ code, error }).toMatchObject({
        error: expect.stringMatching(/^jobwright: [^\n]+\n$/) as string,
      });
  });

  it("reads standard input, and has no colours where nobody looks", async () => {
    await place.use(async () => undefined);
    const enqueuing = start("enqueue", "add", "--payload", "-", "--url", place.url, "--json");
    enqueuing.process.stdin.end('{"a":1,');
    expect(await enqueuing.ended).toMatchObject({ code: 2, out: "" });
    const second = start("enqueue", "add", "--payload", "-", "--url", place.url);
    second.process.stdin.write('{"a":1,');
    second.process.stdin.end('"b":2}');
    expect(await second.ended).toMatchObject({ code: 0, out: "Job 1 is stored.\n", error: "" });
    const { out } = await start("jobs", "list", "--url", place.url).ended;
    // oxlint-disable-next-line no-control-regex -- colours begin with it
    expect(out).not.toMatch(/\u001b/);
  });

  it("does not mind a reader who leaves early", async () => {
    const listing = start("jobs", "list", "--url", place.url, "--help");
    listing.process.stdout.destroy();
    expect(await listing.ended).toMatchObject({ code: 0, error: "" });
  });
});
