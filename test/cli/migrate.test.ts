import { execFile, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MIGRATIONS } from "../../src/storage/postgres/migrations.ts";
import { buildChildren } from "../crash/scene.ts";
import { catalogOf } from "../postgres/catalog.ts";
import { type LocalServer, startServer } from "../support/postgres/server.ts";
import { readOwn } from "../support/source-files.ts";
import { type Ran, run as runFake } from "./fake-terminal.ts";

// Goal: the command does what its help says, and what it prints can be acted on and holds no secret.
// Method: its function with a terminal of the test's, and the program itself as a process.

const PASSWORD = "s3cret/pass:word";
const LATEST = MIGRATIONS.length;
const manifest = JSON.parse(readOwn("package.json")) as { version: string; bin: Record<string, string> };

let server: LocalServer;
beforeAll(async () => {
  await buildChildren();
  server = await startServer();
});
afterAll(() => server[Symbol.asyncDispose]());

async function run(...args: string[]): Promise<Ran> {
  const ran = await runFake(args);
  expect(ran.out + ran.error).not.toContain("s3cret");
  return ran;
}

/** The program as npm installs it. */
function program(): string {
  const dist = process.env["JOBWRIGHT_DIST"] ?? fileURLToPath(new URL("../../dist", import.meta.url));
  return `${dist}/cli/main.js`;
}

function runProgram(...args: string[]): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(process.execPath, [program(), ...args], (failure, out, error) =>
      resolve({ code: failure === null ? 0 : Number(failure.code), out, error }),
    );
  });
}

async function emptyDatabase(): Promise<string> {
  const url = new URL(await server.createDatabase());
  url.password = encodeURIComponent(PASSWORD);
  return url.href;
}

async function catalog(url: string, schema: string): Promise<string[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return await catalogOf(client, schema);
  } finally {
    await client.end();
  }
}

describe("jobwright migrate", () => {
  it("says in one line what it did, and what was there", async () => {
    const url = await emptyDatabase();
    const { port, pathname } = new URL(url);
    const label = `postgres://127.0.0.1:${port}${pathname}#jobwright`;
    const migrations = LATEST === 1 ? "1 migration" : `${LATEST} migrations`;
    expect(await run("migrate", url)).toEqual({
      code: 0,
      out: `${label}: from version 0 to ${LATEST} (${migrations} applied).\n`,
      error: "",
    });
    expect(await run("migrate", url)).toEqual({
      code: 0,
      out: `${label}: version ${LATEST} already, nothing to do.\n`,
      error: "",
    });
  });

  it("prints SQL that makes the same, and connects to nothing", async () => {
    const [byCommand, byHand] = [await emptyDatabase(), await emptyDatabase()];
    await run("migrate", byCommand, "--schema", 'my "jobs"');
    const printed = await run("migrate", "postgres://127.0.0.1:1/nowhere", "--sql", "--schema", 'my "jobs"');
    expect(printed).toMatchObject({ code: 0, error: "" });
    const client = new Client({ connectionString: byHand });
    await client.connect();
    await client.query(printed.out);
    await client.end();
    expect(await catalog(byHand, 'my "jobs"')).toEqual(await catalog(byCommand, 'my "jobs"'));
    expect(await catalog(byHand, 'my "jobs"')).not.toEqual([]);
  });

  it("prints nothing to run for a schema that is up to date", async () => {
    const { code, out } = await run("migrate", "--sql", "--from", String(LATEST));
    expect(code).toBe(0);
    expect(out).not.toMatch(/^(?!--)./m);
  });

  it("fails with one line and the remedy", async () => {
    const url = new URL(await emptyDatabase());
    const nowhere = new URL(url);
    nowhere.pathname = "/no such database";
    const stranger = new URL(url);
    stranger.username = "stranger";
    await server.query("create role stranger login");
    for (const [target, remedy] of [
      [nowhere, "Create the database, or name one that is there."],
      [stranger, "grant create on database"],
    ] as const) {
      const { code, out, error } = await run("migrate", target.href);
      expect({ code, out }).toEqual({ code: 1, out: "" });
      expect(error).toContain(remedy);
      expect(error).toMatch(/^[^\n]+\n$/);
    }
  });

  it("gives up at its timeout when there is no server", async () => {
    const { code, error } = await run(
      "migrate",
      `postgres://jobs:${encodeURIComponent(PASSWORD)}@127.0.0.1:1/jobs`,
      "--timeout",
      "200ms",
    );
    expect(code).toBe(1);
    expect(error.trim().split("\n").at(-1)).toContain("postgres://127.0.0.1:1/jobs#jobwright");
  });

  it.each([
    ["no URL", []],
    ["two URLs", [`postgres://u:${PASSWORD}@a/b`, `postgres://u:${PASSWORD}@a/b`]],
    ["another engine", ["lmdb:./jobs"]],
    ["no URL at all", [`s3cret`]],
    ["a password that is not encoded", ["postgres://u:s3cret/@a/b"]],
    ["an unknown option", ["postgres://a/b", "--shema", "x"]],
    ["a URL as an option's value", [`--sql=postgres://u:${PASSWORD}@a/b`]],
    ["a URL behind a dash", [`-postgres://u:${PASSWORD}@a/b`]],
    ["a missing value", ["postgres://a/b", "--schema"]],
    ["a schema of the system", ["postgres://a/b", "--schema", "pg_x"]],
    ["an empty schema", ["postgres://a/b", "--schema", ""]],
    ["a version without --sql", ["postgres://a/b", "--from", "1"]],
    ["a version that is none", ["--sql", "--from", "x"]],
    ["a version there is not", ["--sql", "--from", String(LATEST + 1)]],
    ["no time", ["postgres://a/b", "--timeout", "soon"]],
  ])("is refused with one line as wrong use: %s", async (_, args) => {
    const { code, out, error } = await run("migrate", ...args);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(error).toMatch(/^[^\n]+\n$/);
  });
});

describe("jobwright", () => {
  it("helps", async () => {
    expect(await run("--help")).toMatchObject({ code: 0, error: "" });
    expect((await run("--help")).out).toContain("migrate");
    expect(await run()).toMatchObject({ code: 2 });
    expect((await run("migrate", "--help")).out).toMatch(/^Usage: jobwright migrate <url>/);
    expect((await run("migrate", "postgres://a/b", "--help")).code).toBe(0);
  });

  it("names its version", async () => {
    expect(await run("--version")).toEqual({ code: 0, out: `${manifest.version}\n`, error: "" });
  });

  it.each(["constructor", "postgres://u:s3cret@a/b", "migrat"])("knows no command %s", async (name) => {
    expect(await run(name)).toEqual({
      code: 2,
      out: "",
      error:
        "There is no such command. Use one of: serve, work, enqueue, jobs, queues, schedules, processes, stats, " +
        "migrate, demo. " +
        "`jobwright --help` says more.\n",
    });
  });
});

describe("the program", () => {
  it("is what package.json names, and ends with the exit code", async () => {
    expect(manifest.bin).toEqual({ jobwright: "./dist/cli/main.js" });
    const url = await emptyDatabase();
    expect(await runProgram("migrate", url)).toMatchObject({ code: 0, error: "" });
    expect(await runProgram("migrate", url)).toMatchObject({ code: 0, error: "" });
    expect(await runProgram("migrate")).toMatchObject({ code: 2, out: "" });
    expect((await runProgram("migrate")).error).toMatch(/^jobwright: <url> is undefined\./);
    const nowhere = await runProgram("migrate", `${url}_nowhere`);
    expect(nowhere).toMatchObject({ code: 1, out: "" });
    expect(nowhere.error).toMatch(/^jobwright: [^\n]+\n$/);
    expect(nowhere.error).not.toContain("s3cret");
  });

  it("does not mind a reader who leaves early", async () => {
    const child = spawn(process.execPath, [program(), "migrate", "--sql"], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let error = "";
    child.stderr.on("data", (chunk: Buffer) => (error += String(chunk)));
    child.stdout.destroy();
    const code = await new Promise((resolve) => child.once("close", resolve));
    expect({ code, error }).toEqual({ code: 0, error: "" });
  });
});
