import { execFileSync, spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { built, root } from "./support/built.ts";
import { postgres } from "./support/postgres/server.ts";

// Goal: the demo finds what there is, and loses nothing, whoever is killed.
// Method: run it as `npm run demo` does, on a folder of known content, and read what it prints. Points in
// time are lines of its output: nothing here waits for a clock.

const TIMEOUT_MS = 120_000;
/** Regular files in the folder of {@link makeFolder}; the demo adds a link that leads nowhere. */
const FILES = 200;

let scratch: string;
let folder: string;
let store: string;
/** Where the jobs are kept, as further arguments. */
let place: string[] = [];

beforeAll(async () => {
  await built();
  scratch = mkdtempSync(join(tmpdir(), "jobwright-demo-test-"));
});
beforeEach(() => {
  folder = mkdtempSync(join(scratch, "folder-"));
  store = mkdtempSync(join(scratch, "store-"));
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** The shared database, with a password if need be: it must not come out anywhere. */
async function databaseUrl(): Promise<URL> {
  const url = new URL((await postgres()).url);
  url.password ||= "open-sesame";
  return url;
}

describe.each([
  { kind: "LMDB", at: async () => [] },
  { kind: "PostgreSQL", at: async () => ["--url", (await databaseUrl()).href] },
])("the demo with jobs in $kind", { timeout: TIMEOUT_MS }, ({ kind, at }) => {
  beforeAll(async () => {
    place = await at();
  });
  afterAll(() => {
    place = [];
  });

  it("finds the duplicates of a folder, and nothing is lost with the worker that it kills", async () => {
    makeFolder();
    const before = listing(folder);
    const { code, output, stderr } = await demo(folder).ended;

    expect(output).toContain(`Jobs and results are kept in ${kind}:\n`);
    expect(stderr).toBe("");
    expect(code).toBe(0);
    const proof = proofOf(output);
    expect(proof).toMatchObject({ found: FILES + 1, done: FILES, dead: 1, lost: 0 });
    // The largest waste first; empty files waste nothing.
    const rows = [...output.matchAll(/^ +(\d+) +([\d.]+ k?B) +([\d.]+ k?B) {2}(\S.*)$/gm)];
    expect(rows.map((row) => row.slice(1))).toEqual([
      ["3", "50.0 kB", "100.0 kB", "large/0"],
      ["60", "1.0 kB", "59.0 kB", "many/00"],
      ["2", "700 B", "700 B", String.raw`odd/\u{1b}[31mred\n`],
    ]);
    expect(output).toContain("3 groups of equal files, 159.7 kB wasted in all.");

    // The planted link failed, was retried once and gave up.
    expect(output).toMatch(/1 job gave up:\n +planted-dangling-link .*\n +Error: ENOENT/);
    // One worker was killed, and its jobs were done by others. Every attempt is accounted for.
    const killed = [...output.matchAll(/^3\. Halfway: worker \d \(process (\d+)\) is killed/gm)];
    expect(killed).toHaveLength(1);
    expect(isAlive(Number(killed[0]?.[1]))).toBe(false);
    expect(output).not.toContain("unexpectedly");
    expect(proof.rescued).toBeGreaterThan(0);
    expect(proof.failed).toBe(1);
    expect(proof.attempts).toBe(FILES + 1 + proof.failed + proof.lostAttempts);

    // It says what it passed over, never lets a name steer the terminal, and leaves the folder as it was.
    expect(output).toContain("Not followed: 2 symbolic links.");
    expect(output.includes("Passed over: 1 socket, pipe or device.")).toBe(process.platform !== "win32");
    // oxlint-disable-next-line no-control-regex -- this is what must not be there
    expect(output).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
    expect(listing(folder)).toEqual(before);
  });

  it("goes on where it was after kill -9 of the main process, and its workers do not stay", async () => {
    makeFolder();
    const first = demo(folder);
    await first.printed(/^3\. Halfway/m);
    expect(workersOf(store).length).toBeGreaterThan(0);
    // What is in a command line, everybody on the machine may read.
    expect(workersOf(store).join()).not.toContain("://");
    process.kill(first.pid, "SIGKILL");
    expect((await first.ended).signal).toBe("SIGKILL");

    const { code, output } = await demo(folder).ended;
    expect(code).toBe(0);
    const [, done, all, left] = /Going on with the interrupted run: (\d+) of (\d+) jobs are done, (\d+) /
      .exec(output)
      ?.map(Number) ?? [0, 0, 0, 0];
    expect(all).toBe(FILES + 1);
    expect(done).toBeGreaterThan(0);
    expect((done ?? 0) + (left ?? 0)).toBe(all);
    // What was done is not done again: beyond one attempt a job there are only those of lost processes.
    const proof = proofOf(output);
    expect(proof).toMatchObject({ found: FILES + 1, done: FILES, dead: 1, lost: 0, failed: 1 });
    expect(proof.attempts).toBe(FILES + 1 + proof.failed + proof.lostAttempts);
    expect(workersOf(store)).toEqual([]);
  });
});

describe("the demo with --url", { timeout: TIMEOUT_MS }, () => {
  it("keeps a run in a schema of its own, removes that of the run before, and shows no password", async () => {
    const url = await databaseUrl();
    const { query } = await postgres();
    const ownSchemas = async (): Promise<unknown[]> => {
      const [home] = readdirSync(store);
      const rows = await query("select nspname from pg_namespace where starts_with(nspname, $1)", [
        `jobwright_demo_${String(home)}`,
      ]);
      return rows.map(({ nspname }) => nspname);
    };
    const run = (): Promise<Ended> => demo(folder, "--workers", "1", "--url", url.href).ended;
    const first = await run();
    expect(proofOf(first.output)).toMatchObject({ found: 1, done: 0, dead: 1, lost: 0 });
    const [schema, ...others] = await ownSchemas();
    expect(others).toEqual([]);
    expect(first.output).toContain(`${url.host}${url.pathname}, schema ${String(schema)}\n`);

    const second = await run();
    expect(proofOf(second.output)).toMatchObject({ found: 1, done: 0, dead: 1, lost: 0 });
    const [next, ...rest] = await ownSchemas();
    expect(rest).toEqual([]);
    expect(next).not.toBe(schema);
    const [home] = readdirSync(store);
    const kept = readdirSync(join(store, String(home)));
    expect(kept.sort()).toEqual(["planted-dangling-link", "run.json"]);
    const told = first.output + second.output + readFileSync(join(store, String(home), "run.json"), "utf8");
    expect(told).not.toContain(url.password);
  });

  it("begins anew when the schema of an interrupted run is gone", async () => {
    const url = await databaseUrl();
    const { query } = await postgres();
    await demo(folder, "--workers", "1", "--url", url.href).ended;
    const [home] = readdirSync(store);
    const file = join(store, String(home), "run.json");
    const { finished, ...run } = JSON.parse(readFileSync(file, "utf8")) as Record<string, unknown>;
    expect(finished).toBe(true);
    writeFileSync(file, JSON.stringify(run));
    const [row] = await query("select nspname from pg_namespace where starts_with(nspname, $1)", [
      `jobwright_demo_${String(home)}`,
    ]);
    await query(`drop schema "${String(row?.["nspname"])}" cascade`);

    const { code, output } = await demo(folder, "--workers", "1", "--url", url.href).ended;
    expect(output).not.toContain("interrupted");
    expect(proofOf(output)).toMatchObject({ found: 1, done: 0, attempts: 2, dead: 1, lost: 0 });
    expect(code).toBe(0);
  });

  it("says in one line what to do when there is no such database, and shows no password", async () => {
    const url = await databaseUrl();
    url.pathname = "/there_is_none";
    const { code, output, stderr } = await demo(folder, "--url", url.href).ended;
    expect(output).not.toContain("Each file is a job");
    expect(stderr).toMatch(/^postgres:\/\/.*there_is_none.*\n$/);
    expect(stderr).not.toContain(url.password);
    expect(code).toBe(1);
  });
});

describe("the demo", { timeout: TIMEOUT_MS }, () => {
  it("ends in an orderly way on Ctrl-C, goes on when started again, and then begins anew", async () => {
    makeFolder();
    const first = demo(folder);
    await first.printed(/^3\. Halfway/m);
    // A terminal sends the signal to all processes of the group.
    process.kill(-first.pid, "SIGINT");
    const interrupted = await first.ended;
    expect(interrupted.code).toBe(130);
    expect(interrupted.output).toContain("Interrupted.");
    expect(interrupted.stderr).toBe("");
    expect(workersOf(store)).toEqual([]);

    const second = await demo(folder).ended;
    expect(second.output).toContain("Going on with the interrupted run");
    expect(proofOf(second.output)).toMatchObject({ found: FILES + 1, done: FILES, dead: 1, lost: 0 });
    expect(second.code).toBe(0);

    const third = await demo(folder, "--workers", "1").ended;
    expect(third.output).not.toContain("interrupted");
    expect(third.output).toContain("None will be killed");
    expect(proofOf(third.output)).toMatchObject({
      found: FILES + 1,
      attempts: FILES + 2,
      rescued: 0,
      dead: 1,
      lost: 0,
    });
    expect(third.code).toBe(0);
  });

  it("queues only what is missing when it was interrupted while it queued", async () => {
    makeFolder();
    const first = demo(folder);
    await first.printed(/^1\. /m);
    process.kill(-first.pid, "SIGKILL");
    await first.ended;
    // As it was before the last step of queueing; meanwhile a file has gone and another has come.
    const [home] = readdirSync(store);
    const file = join(store, String(home), "run.json");
    const { found, ...run } = JSON.parse(readFileSync(file, "utf8")) as Record<string, unknown>;
    expect(found).toBe(FILES + 1);
    writeFileSync(file, JSON.stringify(run));
    unlinkSync(join(folder, "unique", "7"));
    writeFileSync(join(folder, "late"), "late");

    const { code, output } = await demo(folder).ended;
    expect(output).toContain(`${FILES + 2} jobs queued, durably, ${FILES} of them by an interrupted run`);
    expect(output).toContain("1 file queued by the interrupted run cannot be found any more.");
    const { found: all, lost, done, dead } = proofOf(output);
    // The file that went may have been read before.
    expect({ all, lost, ended: done + dead }).toEqual({ all: FILES + 2, lost: 0, ended: FILES + 2 });
    expect(code).toBe(0);
  });

  it("does an empty folder, and does not look into its own store", async () => {
    store = join(folder, "kept-here");
    const { code, output } = await demo(folder).ended;
    expect(output).toContain("No two files are equal");
    expect(proofOf(output)).toMatchObject({ found: 1, done: 0, attempts: 2, dead: 1, lost: 0 });
    expect(code).toBe(0);
  });

  it.each([
    [["nowhere"], /^There is no folder .*nowhere\n$/],
    [["package.json"], /package\.json is no folder\.\n$/],
    [["src", "test"], /^One folder at a time; 2 were given\.\n$/],
    [["--workers", "0"], /^--workers is 0\. Use a number from 1 to 64\.\n$/],
    [["--url", "mysql://me:secret@host/db"], /^--url is no URL of PostgreSQL\. Use one like \S+\n$/],
    [["--url", "postgres://me:secret@host/db?schema=x"], /^--url names a schema\. .* one of its own\.\n$/],
    [["--wrokers=2"], /^Unknown option '--wrokers'\. Use: npm run demo .*\n$/],
  ])("refuses %j in one line", async (args, message) => {
    const { code, output, stderr } = await demo(...args).ended;
    expect(output).toBe("");
    expect(stderr).toMatch(message);
    expect(code).toBe(2);
  });
});

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly output: string;
  readonly stderr: string;
}

interface Demo {
  readonly pid: number;
  readonly ended: Promise<Ended>;
  /** Resolves when the output so far matches. */
  printed(pattern: RegExp): Promise<void>;
}

/** Start the demo in a process group of its own, as a shell does. */
function demo(...args: string[]): Demo {
  const child = spawn(
    process.execPath,
    ["examples/duplicates/main.mjs", ...args, ...(args[0] === folder ? ["--store", store, ...place] : [])],
    { cwd: root, detached: true, stdio: ["ignore", "pipe", "pipe"] },
  );
  let output = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  // "exit", not "close": workers of a killed main process hold the pipes a little longer.
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) => {
      const answer = (): void => resolve({ code, signal, output, stderr });
      if (signal === null) child.once("close", answer);
      else answer();
    });
  });
  return {
    pid: child.pid ?? 0,
    ended,
    printed: (pattern) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          if (!pattern.test(output)) return;
          child.stdout.off("data", look);
          resolve();
        };
        child.stdout.on("data", look);
        void ended.then(() => reject(new Error(`It ended without ${pattern}:\n${output}${stderr}`)));
        look();
      }),
  };
}

interface Proof {
  readonly found: number;
  readonly done: number;
  readonly attempts: number;
  readonly rescued: number;
  readonly dead: number;
  readonly lost: number;
  readonly failed: number;
  readonly lostAttempts: number;
}

/** The numbers of the last two lines. */
function proofOf(output: string): Proof {
  const match =
    /^Of the attempts, \d+ were .*?, (?<failed>\d+) failed .*?, (?<lostAttempts>\d+) were lost.*\nfiles found (?<found>\d+), jobs done (?<done>\d+), attempts (?<attempts>\d+), rescued (?<rescued>\d+), dead (?<dead>\d+), lost (?<lost>-?\d+), \d+\.\d s, \d+ jobs\/s\n$/m.exec(
      output,
    );
  if (match?.groups === undefined) throw new Error(`There is no proof in\n${output}`);
  return Object.fromEntries(
    Object.entries(match.groups).map(([key, value]) => [key, Number(value)]),
  ) as unknown as Proof;
}

/** 200 regular files with three groups of equal content, empty ones, odd names, and what is no file. */
function makeFolder(): void {
  const write = (path: string, content: string): void => writeFileSync(join(folder, path), content);
  for (const name of ["many", "large", "odd", "unique", "empty"]) mkdirSync(join(folder, name));
  for (let n = 0; n < 60; n += 1) write(`many/${String(n).padStart(2, "0")}`, "m".repeat(1_000));
  for (let n = 0; n < 3; n += 1) write(`large/${n}`, "l".repeat(50_000));
  for (let n = 0; n < 5; n += 1) write(`empty/${n}`, "");
  const red = "odd/\u001b[31mred\n";
  write(red, "o".repeat(700));
  // Not valid UTF-8, where the file system takes it.
  const bytes = Buffer.from([...Buffer.from(join(folder, "odd/")), 0x78, 0xff, 0xfe]);
  try {
    writeFileSync(bytes, "o".repeat(700));
  } catch {
    write("odd/x", "o".repeat(700));
  }
  for (let n = 0; n < 130; n += 1) write(`unique/${n}`, `only ${n}`);
  symlinkSync("many", join(folder, "link-to-folder"));
  symlinkSync("..", join(folder, "many", "link-up"));
  if (process.platform !== "win32") execFileSync("mkfifo", [join(folder, "pipe")]);
}

/** With types: a listing without would follow the links of {@link makeFolder}, which has no end. */
function listing(path: string): string[] {
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** Live worker processes of a store, as their command lines. */
function workersOf(path: string): string[] {
  return commandLines().filter((line) => line.includes("worker.mjs") && line.includes(path));
}

/** Of all processes; small images of Linux have no `ps`. A process that ended has none. */
function commandLines(): string[] {
  if (!existsSync("/proc/self/cmdline")) {
    return execFileSync("ps", ["-axo", "command"], { encoding: "utf8" }).split("\n");
  }
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
      } catch {
        return ""; // It ended meanwhile.
      }
    });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
