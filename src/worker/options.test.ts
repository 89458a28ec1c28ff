import { describe, expect, it } from "vitest";
import { DuplicateJobError, InvalidOptionError, MissingHandlerError } from "../errors.ts";
import { defineJob } from "../job/definition.ts";
import { planWorker } from "./options.ts";

const a = defineJob({ name: "a", run: () => 1 });
const b = defineJob({ name: "b", queue: "mail", run: () => 1 });
const dynamic = defineJob({ name: "dynamic", queue: () => "somewhere", run: () => 1 });

describe("planWorker", () => {
  it("serves the fixed queues of its definitions and the default one", () => {
    const plan = planWorker([a, b, dynamic], {});
    expect([...(plan.queues ?? [])]).toEqual([
      ["default", 10],
      ["mail", 10],
    ]);
    expect([...plan.handlers.keys()]).toEqual(["a", "b", "dynamic"]);
    expect(plan).toMatchObject({ maxConcurrency: Number.POSITIVE_INFINITY, shutdownTimeoutMs: 25_000 });
  });

  it("takes queues by name, with their slots, or all of them", () => {
    expect([...(planWorker([a], { queues: ["x", "y"], concurrency: 3 }).queues ?? [])]).toEqual([
      ["x", 3],
      ["y", 3],
    ]);
    const plan = planWorker([a], { queues: { x: 1, constructor: 10_000 } });
    expect([...(plan.queues ?? [])]).toEqual([
      ["x", 1],
      ["constructor", 10_000],
    ]);
    expect(planWorker([a], { queues: "*" }).queues).toBeUndefined();
  });

  it("refuses no definitions, two of one name, and one without a handler", () => {
    expect(() => planWorker([], {})).toThrow(InvalidOptionError);
    expect(() => planWorker(undefined as never, {})).toThrow(InvalidOptionError);
    expect(() => planWorker([undefined as never], {})).toThrow(InvalidOptionError);
    expect(() => planWorker([a, b, defineJob({ name: "a", run: () => 2 })], {})).toThrow(DuplicateJobError);
    expect(() => planWorker([a, defineJob({ name: "later" })], {})).toThrow(MissingHandlerError);
  });

  it.each<[string, object]>([
    ["an unknown option", { retries: 1 }],
    ["concurrency 0", { concurrency: 0 }],
    ["fractional concurrency", { concurrency: 1.5 }],
    ["endless concurrency", { concurrency: Number.POSITIVE_INFINITY }],
    ["concurrency beyond the limit", { concurrency: 10_001 }],
    ["slots of a queue that are none", { queues: { x: 0 } }],
    ["slots of a queue that are text", { queues: { x: "2" } }],
    ["no queue at all", { queues: [] }],
    ["queues of another kind", { queues: 7 }],
    ["an empty queue name", { queues: [""] }],
    ["maxConcurrency 0", { maxConcurrency: 0 }],
    ["a threshold above the maximum", { maxConcurrency: 2, refillBelow: 3 }],
    ["a negative shutdown timeout", { shutdownTimeout: -1 }],
    ["an infinite shutdown timeout", { shutdownTimeout: Number.POSITIVE_INFINITY }],
    ["NaN as a grace", { timeoutGrace: Number.NaN }],
    ["a poll without a pause", { pollInterval: 0 }],
    ["a poll that is too rare", { pollInterval: "2m" }],
    ["slow at once", { slowAfter: 0 }],
    ["blocked at once", { blockedAfter: 1 }],
    ["a name with a line feed", { name: "a\nb" }],
    ["a state that is no function", { state: { db: 1 } }],
  ])("refuses %s", (_what, options) => {
    expect(() => planWorker([a], options)).toThrow(InvalidOptionError);
  });
});
