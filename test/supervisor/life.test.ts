import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { item } from "../../src/item.ts";
import { storages, type StorageKind } from "../support/storages.ts";
import { until } from "../support/world.ts";
import { act, buildChildren, isThere, LOST_AFTER, Stage, TIMEOUT_MS, WAIT, type Watched } from "./stage.ts";

// Goal: whatever user code does to a child stays with that child, and a stop ends all of them, whatever they do.

const lmdb = storages.find(({ label }) => label === "lmdb") as StorageKind;

beforeAll(buildChildren);
afterAll(lmdb.cleanup);

describe.concurrent.each(["processes", "threads"] as const)("%s", { timeout: TIMEOUT_MS }, (children) => {
  it("end with an exit code when something is rejected that nobody waits for, at the cost of that job alone", async () => {
    await using stage = new Stage();
    const url = await lmdb.url();
    const watched = stage.supervisor({ modules: stage.module("worker.mjs"), url, [children]: 1 });
    await watched.supervisor.start();
    const jobs = await stage.connect(url);
    const payload = { act: "stray", file: stage.path("go"), log: stage.log };
    const [stray, behind] = await jobs.enqueueMany([
      item(act, payload),
      item(act, { act: "return", log: stage.log }),
    ]);
    await stage.toldStart(jobs, await stage.start(stray?.id as string, 1));
    stage.go("go");

    expect(await stray?.result(WAIT)).toMatchObject({ attempt: 2 });
    expect(await behind?.result(WAIT)).toMatchObject({ attempt: 1 });
    expect(await jobs.attempts(stray?.id as string)).toHaveLength(1);
    expect(await jobs.attempts(behind?.id as string)).toEqual([]);
    expect(watched.all("exited")).toMatchObject([
      { code: 1, signal: null, error: { name: "TypeError", message: "nobody waits for this" } },
    ]);
  });

  it("whose event loop stands still are reported, and left alone", async () => {
    await using stage = new Stage();
    const url = await lmdb.url();
    const modules = stage.module("worker.mjs");
    const watched = stage.supervisor({ modules, url, [children]: 1, blockedAfter: "700ms" });
    await watched.supervisor.start();
    const jobs = await stage.connect(url);
    const handle = await jobs.enqueue(act, { act: "block", file: stage.path("go"), log: stage.log });
    await stage.start(handle.id, 1);
    // A busy machine may hold a child up as well, for a while.
    await until(() => watched.children[0]?.state === "blocked");
    expect(watched.all("blocked").at(-1)?.silentMs).toBeGreaterThan(700);
    expect(stage.lines.at(-1)).toContain("has not turned its event loop for");
    stage.go("go");

    expect(await handle.result(WAIT)).toMatchObject({ attempt: 1 });
    await until(() => watched.children[0]?.state === "ready");
    expect(watched.all("exited")).toEqual([]);
    expect(watched.children).toMatchObject([{ restarts: 0 }]);
  });

  it("whose modules no longer load come back later and later, with one line each time, and when it loads", async () => {
    await using stage = new Stage();
    const url = await lmdb.url();
    const modules = stage.module("worker.mjs");
    const restart = { first: 20, max: 320 };
    const watched = stage.supervisor({ modules, url, [children]: 1, restart });
    await watched.supervisor.start();
    const jobs = await stage.connect(url);
    stage.module("worker.mjs", 'throw new RangeError("a bad deploy");');
    const payload = { act: "hold", end: "exit", file: stage.path("die"), log: stage.log };
    const handle = await jobs.enqueue(act, payload);
    await stage.toldStart(jobs, await stage.start(handle.id, 1));
    stage.go("die");
    await watched.until("exited", 4);
    stage.module("worker.mjs");

    expect(await handle.result(WAIT)).toMatchObject({ attempt: 2 });
    const [first, ...failed] = watched.all("exited");
    expect(first).toMatchObject({ code: 7 });
    for (const { code, error } of failed) {
      expect(code).toBe(1);
      expect(error).toMatchObject({ code: "JOBWRIGHT_INVALID_OPTION" });
      expect(error?.message).toContain("RangeError: a bad deploy");
    }
    const waits = watched.all("restarting").map(({ inMs }) => inMs);
    for (const [index, inMs] of waits.entries()) {
      const base = Math.min(restart.max, restart.first * 2 ** index);
      expect(inMs).toBeGreaterThanOrEqual(base);
      expect(inMs).toBeLessThanOrEqual(1.2 * base);
    }
    const ends = stage.lines.filter((line) => line.includes(" ended with "));
    expect(ends).toHaveLength(watched.all("exited").length);
    expect(watched.children).toMatchObject([{ state: "ready", restarts: waits.length }]);
  });

  it("that cannot even start make the start fail with their reason, and it may be tried again", async () => {
    await using stage = new Stage();
    const url = await lmdb.url();
    const modules = stage.module("worker.mjs", 'throw new RangeError("not today");');
    const watched = stage.supervisor({ modules, url, [children]: 1 });
    await expect(watched.supervisor.start()).rejects.toMatchObject({
      code: "JOBWRIGHT_INVALID_OPTION",
      message: expect.stringMatching(/worker\.mjs.*RangeError: not today/),
      cause: { name: "RangeError", message: "not today" },
    });
    expect(watched.children.map(({ state }) => state)).toEqual(["stopped"]);
    expect(watched.all("restarting")).toEqual([]);

    stage.module("worker.mjs", "process.exit(3);");
    await expect(watched.supervisor.start()).rejects.toMatchObject({
      code: "JOBWRIGHT_STATE",
      message: expect.stringContaining("ended with code 3 before its worker was ready"),
    });

    stage.module("worker.mjs");
    await watched.supervisor.start();
    expect(watched.children.map(({ state }) => state)).toEqual(["ready"]);
    expect(watched.supervisor.start()).toBe(watched.supervisor.start());
    await watched.supervisor.stop();
    await expect(watched.supervisor.start()).rejects.toMatchObject({ code: "JOBWRIGHT_STATE" });
  });

  it("that do not stop are killed, and their jobs are free at once", async () => {
    await using stage = new Stage();
    const url = await lmdb.url();
    const watched = stage.supervisor({ modules: stage.module("worker.mjs"), url, [children]: 2 });
    await watched.supervisor.start();
    const jobs = await stage.connect(url);
    const payload = { act: "block", file: stage.path("never"), log: stage.log };
    const blocked = await jobs.enqueue(act, payload);
    const { pid } = await stage.start(blocked.id, 1);
    const waits = await jobs.enqueue(act, { ...payload, act: "hold" });
    await stage.start(waits.id, 1);

    const patient = watched.supervisor.stop({ timeout: "1h" });
    expect(watched.supervisor.stop({ timeout: 0 })).toBe(patient);
    await patient;
    expect(ended(watched)).toEqual([0, children === "processes" ? "SIGKILL" : 1]);
    expect(isThere(pid)).toBe(children === "threads");
    // One gave its job back by itself; the other's process is lost, and whoever works next takes it over.
    expect(await jobs.get(waits.id)).toMatchObject({ state: "available" });
    expect(await jobs.processes()).toMatchObject([{ lost: true, running: 1 }]);
    const next = stage.supervisor({ modules: stage.module("worker.mjs"), url, threads: 1 });
    await next.supervisor.start();
    stage.go("never");
    // Its start was never told, as it blocked at once: so no attempt is spent.
    expect(await blocked.result(WAIT)).toMatchObject({ attempt: 1 });
    expect(await waits.result(WAIT)).toMatchObject({ attempt: 1 });
  });
});

describe.concurrent("children of a Supervisor whose process", { timeout: TIMEOUT_MS }, () => {
  async function program(
    stage: Stage,
    url: string,
  ): Promise<{ pid: number; children: number[]; exited: Promise<unknown> }> {
    const boss = stage.program("boss.mjs", {
      modules: stage.module("worker.mjs"),
      url,
      processes: 2,
      connect: { lostAfter: LOST_AFTER },
      worker: { shutdownTimeout: "300ms" },
    });
    const exited = new Promise((resolve) => boss.once("exit", (code, signal) => resolve(signal ?? code)));
    const { children } = await new Promise<{ children: number[] }>((resolve) =>
      boss.once("message", resolve),
    );
    expect(children.filter(isThere)).toEqual(children);
    return { pid: boss.pid as number, children, exited };
  }

  it("is killed with -9 end as well, in order where their event loop turns and by force where not", async () => {
    await using stage = new Stage();
    const url = await lmdb.url();
    const { pid, children } = await program(stage, url);
    const jobs = await stage.connect(url);
    const payload = { file: stage.path("never"), log: stage.log };
    const blocked = await jobs.enqueue(act, { ...payload, act: "block" });
    await stage.start(blocked.id, 1);
    const held = await jobs.enqueue(act, { ...payload, act: "hold" });
    await stage.start(held.id, 1);
    process.kill(pid, "SIGKILL");
    await until(() => children.filter(isThere).length === 1);
    expect(await jobs.get(held.id)).toMatchObject({ state: "available", attempt: 0 });
    await until(() => !children.some(isThere));
  });

  it("is asked to stop let their jobs end first; asked twice, it goes at once and they follow", async () => {
    await using stage = new Stage();
    const url = await lmdb.url();
    const first = await program(stage, url);
    const jobs = await stage.connect(url);
    const payload = { act: "hold", log: stage.log };
    const job = await jobs.enqueue(act, { ...payload, file: stage.path("go") });
    await stage.start(job.id, 1);
    process.kill(first.pid, "SIGTERM");
    stage.go("go");
    expect(await first.exited).toBe(0);
    expect(first.children.filter(isThere)).toEqual([]);
    expect(await job.result(WAIT)).toMatchObject({ attempt: 1 });

    const second = await program(stage, url);
    const held = await jobs.enqueue(act, { ...payload, file: stage.path("never") });
    await stage.start(held.id, 1);
    process.kill(second.pid, "SIGTERM");
    process.kill(second.pid, "SIGINT");
    expect([130, 143]).toContain(await second.exited);
    await until(() => !second.children.some(isThere));
    expect(await jobs.get(held.id)).toMatchObject({ state: "available", attempt: 0 });
  });
});

function ended(watched: Watched): (number | string | null)[] {
  return watched
    .all("exited")
    .map(({ code, signal }) => signal ?? code)
    .toSorted((a, b) => String(a).localeCompare(String(b)));
}
