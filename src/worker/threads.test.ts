import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { BroadcastChannel, MessageChannel, type MessagePort } from "node:worker_threads";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { InvalidOptionError } from "../errors.ts";
import type { FromThread, ThreadTask } from "./thread/messages.ts";
import { threadModule, Threads } from "./threads.ts";

describe("a run that no thread takes", () => {
  const threads: Threads[] = [];
  const ports: MessagePort[] = [];
  afterEach(async () => {
    for (const port of ports.splice(0)) port.close();
    await Promise.all(threads.splice(0).map((one) => one.close()));
  });

  /** Runs one act in a thread, as a worker would. Answers how it ended and how often it was tried. */
  async function perform(of: Threads, act: string, memoryMb: number) {
    let tries = 0;
    const make = (begun: () => void): ThreadTask => {
      tries += 1;
      const { port1, port2 } = new MessageChannel();
      ports.push(port1);
      port1.on("message", ({ kind }: FromThread) => void (kind === "begun" && begun()));
      const start = { kind: "run", job: {}, payload: { act }, checkpoint: {}, now: 0 };
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port is no window
      port1.postMessage(start);
      const module = new URL("../../test/worker/thread-handlers/acts.ts", import.meta.url).href;
      return { port: port2, module };
    };
    const end = await of
      .run(make, memoryMb, new AbortController().signal)
      .catch((thrown: unknown) => (thrown as { code: string }).code);
    return { end, tries };
  }

  // Guards: the pool keeps a run for a thread that never comes, and the run waits for ever.
  it("fails, after a second try, when threads die as they start", async () => {
    const pool = new Threads(1);
    threads.push(pool);
    // So little that the thread cannot even load what it runs.
    expect(await perform(pool, "return", 3)).toEqual({ end: "ERR_WORKER_OUT_OF_MEMORY", tries: 2 });
  });

  it("goes to another thread when the first is busy with what an earlier run left behind", async () => {
    const pool = new Threads(1, 500);
    threads.push(pool);
    await perform(pool, "return", 64);
    const channel = new BroadcastChannel("return and loop");
    const looping = once(channel, "message");
    expect(await perform(pool, "return and loop", 64)).toMatchObject({ end: { kind: "returned" } });
    // A run that came before would be caught in the middle, and end with its timeout.
    await looping;
    channel.close();
    expect(await perform(pool, "nothing", 64)).toEqual({ end: { kind: "returned" }, tries: 2 });
  });
});

describe("the module of a thread", () => {
  const folder = mkdtempSync(join(tmpdir(), "jobwright-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const url = (name: string): URL => pathToFileURL(join(folder, name));
  const write = (...names: readonly string[]): void => {
    for (const name of names) writeFileSync(join(folder, name), "");
  };

  it.each([
    ["a.js", ["a.js", "a.ts"], "a.js"],
    ["b.js", ["b.ts"], "b.ts"],
    ["c.mjs", ["c.mts"], "c.mts"],
    ["d.ts", ["d.js"], "d.js"],
    ["with space.cts", ["with space.cjs"], "with space.cjs"],
  ])("%s is found beside %s", (asked, there, found) => {
    write(...there);
    expect(threadModule(url(asked))).toBe(url(found).href);
  });

  it("keeps its query, and is refused when it is not there", () => {
    write("q.js");
    expect(threadModule(new URL(`${url("q.js").href}?x=1`))).toBe(`${url("q.js").href}?x=1`);
    expect(() => threadModule(url("nowhere.js"))).toThrow(InvalidOptionError);
    expect(() => threadModule(url("nowhere.json"))).toThrow(/nowhere\.json/);
  });
});
