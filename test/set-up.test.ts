import { hostname } from "node:os";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { lockfile, MiniProject } from "./support/mini-project.ts";

// Goal: a verb typed into a checkout in any condition does what is needed, and no more, before its work.
// Method: the real scripts in a tiny project whose npm, compiler and vitest keep a diary.

const NPM_CI = "npm ci --include=dev --include=optional --no-audit --no-fund --loglevel=error";

let project: MiniProject;
beforeEach(() => {
  project = new MiniProject();
});
afterEach(() => project.dispose());

/** A project on which a first command has been run; made once. */
let used: MiniProject;
beforeAll(async () => {
  used = new MiniProject();
  await used.start(["test"]).ended;
  used.diary();
});
afterAll(() => used.dispose());

function useUsed(): void {
  project.dispose();
  project = new MiniProject(used);
}

/** Run a verb to its end and expect success; answers what was done. */
async function done(args: readonly string[] = ["test"], env: Record<string, string> = {}): Promise<string[]> {
  const { exitCode, output } = await project.start(args, env).ended;
  expect(exitCode, output).toBe(0);
  return project.diary();
}

it("the used project is whole", () => {
  expect(used.has("dist/index.js")).toBe(true);
});

describe("a fresh clone", () => {
  it("is installed and built once, with a line for each", async () => {
    const { exitCode, output } = await project.start(["test", "src/job", "-t", "a name"]).ended;
    expect(exitCode).toBe(0);
    expect(output).toMatch(/^Installing packages \(npm ci\) … \d+\.\d s\nBuilding \(tsc\) … \d+\.\d s\n$/);
    expect(project.diary()).toEqual([NPM_CI, "tsc", "vitest run src/job -t a name"]);
    expect(project.read("dist/job/job.js")).toContain("two = 2");

    const second = await project.start(["test"]).ended;
    expect(second).toEqual({ exitCode: 0, output: "" });
    expect(project.diary()).toEqual(["vitest run"]);
  });

  it("is set up once when two commands are typed at once", async () => {
    const [one, two] = await Promise.all([project.start(["test"]).ended, project.start(["test"]).ended]);
    expect([one.exitCode, two.exitCode]).toEqual([0, 0]);
    expect(project.diary().toSorted()).toEqual([NPM_CI, "tsc", "vitest run", "vitest run"]);
  });

  it("keeps an install somebody made by hand", async () => {
    useUsed();
    project.remove("node_modules/.jobwright-setup");
    expect(await done()).toEqual(["vitest run"]);
    expect(project.has("node_modules/.jobwright-setup")).toBe(true);
    expect(await done()).toEqual(["vitest run"]);
  });

  it("goes on without an optional package that npm leaves out, and says so once", async () => {
    const first = await project.start(["test"], { LEAVE_OUT_NATIVE: "1" }).ended;
    expect(first.output).toContain("(without node_modules/native-here)");
    expect(first.exitCode).toBe(0);
    project.diary();
    expect(await done(["test"], { LEAVE_OUT_NATIVE: "1" })).toEqual(["vitest run"]);
  });
});

describe("an install is made anew", () => {
  beforeEach(useUsed);

  it.each<[string, () => void]>([
    ["the lockfile changed", () => project.write("package-lock.json", lockfile("1.0.1"))],
    ["a package is gone", () => project.remove("node_modules/vitest/package.json")],
    ["a package for this platform is gone", () => project.remove("node_modules/native-here")],
    ["node_modules is gone", () => project.remove("node_modules")],
    [
      "another Node made it",
      () =>
        project.write(
          "node_modules/.jobwright-setup",
          project.read("node_modules/.jobwright-setup").replace(/"node":"\d+"/, '"node":"12"'),
        ),
    ],
    [
      "another platform made it",
      () =>
        project.write(
          "node_modules/.jobwright-setup",
          project
            .read("node_modules/.jobwright-setup")
            .replace(/"platform":"[^"]+"/, '"platform":"plan9-x64"'),
        ),
    ],
    [
      "package.json asks for something else",
      () =>
        project.write("package.json", {
          type: "module",
          engines: { node: ">=20.19" },
          dependencies: { lmdb: "1.0.0" },
        }),
    ],
  ])("when %s", async (_what, change) => {
    change();
    expect((await done())[0]).toBe(NPM_CI);
  });

  it("when it was killed halfway", async () => {
    project.remove("node_modules");
    const run = project.start(["test"], { HANG: "1" });
    await expect.poll(() => project.has("hanging"), { timeout: 30_000 }).toBe(true);
    run.child.kill("SIGKILL");
    await run.ended;
    // Its npm lives on and goes on writing: nobody may begin beside it.
    const next = project.start(["test"]);
    await next.printed("Another set-up is at work");
    process.kill(Number(project.read("hanging")), "SIGKILL");
    expect((await next.ended).exitCode).toBe(0);
    expect(project.diary()).toEqual([NPM_CI, NPM_CI, "tsc", "vitest run"]);
  });
});

describe("a build is made anew", () => {
  beforeEach(useUsed);

  it.each<[string, () => void]>([
    ["a source changed", () => project.write("src/index.ts", "export const one = 10;")],
    ["a source came", () => project.write("src/job/new.ts", "export const three = 3;")],
    ["a source went", () => project.remove("src/job/job.ts")],
    ["the compiler's options changed", () => project.write("tsconfig.json", { compilerOptions: {} })],
    ["dist is gone", () => project.remove("dist")],
    ["a file of dist is gone", () => project.remove("dist/job/job.js")],
  ])("when %s", async (what, change) => {
    change();
    // The compiler's stand-in knows two files only; what it makes of others is not the point here.
    if (what === "a source went") project.write("src/job/job.ts", "export const two = 22;");
    expect(await done()).toEqual(["tsc", "vitest run"]);
  });

  it("but not when only a test changed", async () => {
    project.write("src/job/job.test.ts", "test");
    project.write("src/job/job.test-d.ts", "test");
    expect(await done()).toEqual(["vitest run"]);
  });

  it("once for a declaration, of which nothing is compiled", async () => {
    project.write("src/job/native.d.ts", "declare");
    expect(await done()).toEqual(["tsc", "vitest run"]);
    expect(await done()).toEqual(["vitest run"]);
  });

  it("and a bad one leaves the last good one in place and says what is wrong", async () => {
    project.write("src/index.ts", "wrong");
    const { exitCode, output } = await project.start(["test"]).ended;
    expect(exitCode).toBe(1);
    expect(output).toContain("error TS1: wrong");
    expect(project.read("dist/index.js")).toContain("one = 1");
    expect(project.diary()).toEqual(["tsc"]);
    expect(project.has("dist.next")).toBe(false);
    project.write("src/index.ts", "right");
    expect(await done()).toEqual(["tsc", "vitest run"]);
  });
});

describe("the lock", () => {
  it("of a dead process is broken at once", async () => {
    project.write(".setup-lock/holder.json", { host: hostname(), pids: [await deadPid()] });
    expect(await done()).toEqual([NPM_CI, "tsc", "vitest run"]);
    expect(project.has(".setup-lock")).toBe(false);
  });

  it("of a living process is waited for", async () => {
    project.write(".setup-lock/holder.json", { host: hostname(), pids: [process.pid] });
    const run = project.start(["test"]);
    await run.printed("Another set-up is at work");
    expect(project.diary()).toEqual([]);
    project.remove(".setup-lock");
    expect((await run.ended).exitCode).toBe(0);
  });
});

describe("the work", () => {
  beforeEach(useUsed);

  it("has its exit code", async () => {
    expect((await project.start(["test"], { EXIT: "5" }).ended).exitCode).toBe(5);
  });

  it("is told of the long sizes", async () => {
    expect(await done(["test:long"])).toEqual(["vitest run long"]);
  });

  it("is followed by a look at what it proved, when all of it ran", async () => {
    project.remove("checked");
    await done(["test", "src/job"]);
    expect(project.has("checked")).toBe(false);
    await done(["test"]);
    await done(["test:long"]);
    expect(project.read("checked")).toBe("with a report\nwith a report\n");
    expect((await project.start(["test"], { CHECK_EXIT: "4" }).ended).exitCode).toBe(4);
    expect((await project.start(["test"], { EXIT: "5", CHECK_EXIT: "4" }).ended).exitCode).toBe(5);
  });

  it("gets the signal we get, once, and is waited for", async () => {
    const run = project.start(["test"], { WAIT: "1" });
    await run.printed("waiting");
    // As npm does, which passes on what the terminal has sent to everybody.
    run.child.kill("SIGINT");
    await run.printed("child got SIGINT");
    run.child.kill("SIGINT");
    const { exitCode, output } = await run.ended;
    expect(exitCode).toBe(7);
    expect(output.match(/child got SIGINT/g)).toHaveLength(1);
  });

  it("is refused by name when it is unknown, with the names there are", async () => {
    const { exitCode, output } = await project.start(["tset"]).ended;
    expect(exitCode).toBe(1);
    expect(output).toBe(
      'Unknown command "tset". There are: test, test:long, demo, bench, mutants, build, format, check.\n',
    );
    expect((await project.start(["toString"]).ended).exitCode).toBe(1);
  });
});

describe("what goes wrong is said", () => {
  it("when npm fails", async () => {
    const { exitCode, output } = await project.start(["test"], { FAIL: "1" }).ended;
    expect(exitCode).toBe(1);
    expect(output).toContain("npm error the network is down\nnpm ci failed with exit code 3.");
    expect(project.diary()).toEqual([NPM_CI]);
    expect(project.has(".setup-lock")).toBe(false);
  });

  it("when Node is too old", async () => {
    project.write("package.json", { type: "module", engines: { node: ">=99.1" } });
    const { exitCode, output } = await project.start(["test"]).ended;
    expect(exitCode).toBe(1);
    expect(output).toContain(`jobwright needs Node >=99.1; this is Node ${process.versions.node}.`);
  });

  it("when the lockfile is missing", async () => {
    project.remove("package-lock.json");
    const { exitCode, output } = await project.start(["test"]).ended;
    expect(exitCode).toBe(1);
    expect(output).toContain("package-lock.json is missing or damaged");
  });
});

/** The id of a process that has just ended. */
async function deadPid(): Promise<number> {
  const run = project.start(["tset"]);
  await run.ended;
  return run.child.pid ?? 0;
}
