import { describe, expect, it } from "vitest";
import { defineJob } from "../job/definition.ts";
import type { ClaimedJob, Storage } from "../storage/storage.ts";
import { Fetcher } from "./fetch.ts";
import { Lines } from "./lines.ts";
import { planWorker, type WorkerSettings } from "./options.ts";

const thread = new URL(import.meta.url);
const run = (): void => undefined;

/** The lines of a worker with some handlers, by name; "t…" runs in a thread. */
async function linesOf(names: readonly string[], settings: WorkerSettings) {
  const definitions = names.map((name) => defineJob(name.startsWith("t") ? { name, thread } : { name, run }));
  const plan = planWorker(definitions, settings);
  const lines = new Lines(plan);
  await lines.lay({} as Storage);
  const running = (): number => lines.all.reduce((sum, line) => sum + line.running, 0);
  const fetcher = new Fetcher(lines, plan, running);
  const asks = (): string[] =>
    fetcher.requests().map(({ queue, names: asked, room }) => `${queue} ${asked.join("+")} ${room}`);
  return { lines, fetcher, asks };
}

describe("the lines of a worker", () => {
  it("are one a queue where nothing runs in threads, or everything", async () => {
    const none = await linesOf(["a", "b"], { queues: ["x", "y"], concurrency: 5 });
    expect(none.asks().sort()).toEqual(["x a+b 5", "y a+b 5"]);
    const all = await linesOf(["t", "tt"], { queues: ["x"], concurrency: 5, threads: 3 });
    expect(all.asks()).toEqual(["x t+tt 3"]);
    expect(all.lines.served()).toEqual([{ queue: "x", names: ["t", "tt"], concurrency: 3 }]);
  });

  it("share the worker's threads over all queues, also within one claim", async () => {
    const { asks, lines } = await linesOf(["t"], { queues: ["x", "y"], concurrency: 5, threads: 3 });
    expect(asks()).toHaveLength(1);
    lines.of("x", "t").take();
    lines.of("y", "t").add({ id: 1, payload: "" } as ClaimedJob, 0);
    // One runs, and one is read ahead for the second.
    expect(asks().map((ask) => ask.split(" ").at(-1))).toEqual(["1"]);
    lines.of("y", "t").take();
    expect(lines.of("x", "t").free).toBe(1);
    lines.of("x", "t").take();
    expect([lines.of("x", "t").next(), lines.of("y", "t").next()]).toEqual([undefined, undefined]);
    lines.of("x", "t").giveBack();
    expect(lines.of("y", "t").next()?.id).toBe(1);
  });

  it("are two for a queue with both kinds: one claim asks for one of them, in turn, and others see one", async () => {
    const { asks, lines } = await linesOf(["a", "t"], { queues: ["x"], concurrency: 5, threads: 2 });
    expect([asks(), asks(), asks()]).toEqual([["x a 5"], ["x t 2"], ["x a 5"]]);
    expect(lines.served()).toEqual([{ queue: "x", names: ["a", "t"], concurrency: 5 }]);
    expect(lines.of("x", "a")).not.toBe(lines.of("x", "t"));
    // The slots of the queue are common to both.
    for (let i = 0; i < 4; i += 1) lines.of("x", "a").take();
    expect([asks(), asks()].flat().sort()).toEqual(["x a 1", "x t 1"]);
  });

  it("ask for the line that may have more, and for nothing at all when no slot is free", async () => {
    const { asks, lines, fetcher } = await linesOf(["a", "t"], { queues: ["x"], concurrency: 5, threads: 2 });
    lines.of("x", "t").drained = true;
    expect([asks(), asks()]).toEqual([["x a 5"], ["x a 5"]]);
    lines.of("x", "a").drained = true;
    expect(fetcher.isDue).toBe(false);
    lines.of("x", "t").drained = false;
    lines.of("x", "t").take();
    lines.of("x", "t").take();
    // Otherwise the worker would go round and round with claims that ask for nothing.
    expect(fetcher.isDue).toBe(false);
  });

  it("give each kind its turn at the slots of a worker that is bounded over all", async () => {
    const { asks } = await linesOf(["a", "t"], { queues: ["x", "y"], maxConcurrency: 2, threads: 2 });
    const asked = new Set(
      Array.from({ length: 8 }, asks)
        .flat()
        .map((ask) => ask.replace(/ \d+$/, "")),
    );
    expect([...asked].sort()).toEqual(["x a", "x t", "y a", "y t"]);
  });
});
