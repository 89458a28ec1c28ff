import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { connect } from "../../src/index.ts";
import { built, root } from "../support/built.ts";

const folder = mkdtempSync(join(tmpdir(), "jobwright-"));
const children = new Set<ChildProcess>();
let n = 0;

describe.skipIf(process.platform === "win32")("stopOnSignals, and what keeps a process alive", () => {
  beforeAll(() => built());
  afterEach(() => {
    for (const child of children) child.kill("SIGKILL");
    children.clear();
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** Starts the program and waits for what it says. */
  async function start(what: string, url: string, says: string) {
    const child = spawn(process.execPath, [join(root, "test/worker/child.mjs"), what, url], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    children.add(child);
    let output = "";
    const ended = once(child, "exit") as Promise<[number | null, NodeJS.Signals | null]>;
    const said = new Promise<void>((resolve, reject) => {
      for (const stream of [child.stdout, child.stderr]) {
        stream.on("data", (chunk: Buffer) => {
          output += chunk.toString();
          if (output.includes(`${says}\n`)) resolve();
        });
      }
      void ended.then(([code]) => reject(new Error(`ended with ${String(code)}: ${output}`)));
    });
    await said;
    return { child, ended };
  }

  const urls = { memory: () => "memory:", lmdb: () => `lmdb:${join(folder, `store-${(n += 1)}`)}` };

  describe.each(Object.entries(urls))("with %s", (_label, makeUrl) => {
    it("lets a process that connected, enqueued and has nothing left to do end by itself", async () => {
      const { ended } = await start("idle-connect", makeUrl(), "ready");
      expect(await ended).toEqual([0, null]);
    });

    it.each(["SIGTERM", "SIGINT"] as const)("ends an idle worker with status 0 at %s", async (signal) => {
      const { child, ended } = await start("idle", makeUrl(), "ready");
      child.kill(signal);
      expect(await ended).toEqual([0, null]);
    });

    it("stops in order at the first signal and ends with status 0", async () => {
      const { child, ended } = await start("busy", makeUrl(), "running");
      child.kill("SIGTERM");
      expect(await ended).toEqual([0, null]);
    });

    it("ends at once at the second signal, with the status of that signal", async () => {
      const { child, ended } = await start("deaf", makeUrl(), "running");
      child.kill("SIGTERM");
      const again = setInterval(() => child.kill("SIGTERM"), 50);
      expect(await ended).toEqual([143, null]);
      clearInterval(again);
    });
  });

  it("gives back what ran, unspent, for whoever opens the store next", async () => {
    const url = urls.lmdb();
    const { child, ended } = await start("busy", url, "running");
    child.kill("SIGTERM");
    expect(await ended).toEqual([0, null]);
    const jobs = await connect(url);
    const { jobs: waiting } = await jobs.list({ state: "available" });
    expect(waiting).toMatchObject([{ name: "held", attempt: 0, releases: 1 }]);
    expect(await jobs.processes()).toEqual([]);
    await jobs.close();
  });
});
