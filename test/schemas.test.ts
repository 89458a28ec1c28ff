import { type AnySchemaObject, Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import {
  cancel,
  defineJob,
  every,
  type JobEvent,
  json,
  reschedule,
  snooze,
  type WorkerEvents,
} from "../src/index.ts";
import { runUntilIdle } from "../src/testing/index.ts";
import * as published from "../src/schemas/index.ts";
import { storages } from "./support/storages.ts";
import { until, type World, world } from "./support/world.ts";

// Goal: the schemas say what a program in another language meets.
// Method: values of every kind, from every storage, go through JSON and must fit schemas that allow nothing beside
// what they name; with a key taken away or turned into something else they must not.

type EventName = published.TellingEvent;
type SchemaName = Exclude<keyof typeof published, "workerEventSchemas"> | EventName;

const { workerEventSchemas, ...single } = published;
const schemas = { ...single, ...workerEventSchemas } as Record<SchemaName, AnySchemaObject>;

const ajv = new Ajv2020({
  allowUnionTypes: true,
  formats: { "date-time": /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/ },
});
/** As published, and allowing nothing that it does not name. */
const checks = Object.fromEntries(
  Object.entries(schemas).map(([name, schema]) => [
    name,
    { open: ajv.compile(schema), closed: ajv.compile(closed(schema)) },
  ]),
) as Record<SchemaName, { open: ValidateFunction; closed: ValidateFunction }>;

const task = defineJob({
  name: "task",
  payload: json<{ what: string }>(),
  maxRetries: 1,
  run({ what }, ctx) {
    ctx.log.warn("so far", { what });
    if (what === "snooze") return snooze("1h");
    if (what === "reschedule") return reschedule("1h");
    if (what === "cancel") return cancel("no longer wanted");
    if (what === "wait") return new Promise<void>((end) => ctx.signal.addEventListener("abort", () => end()));
    if (what === "nothing") return undefined;
    if (what !== "fail") return { what };
    ctx.progress(0.5, "half of it");
    const cause = Object.assign(new TypeError("deeper"), { code: "E_DEEP" });
    throw new Error("no", { cause });
  },
});

/** By schema, the keys that real values had at their top level. */
const met = new Map<SchemaName, Set<string>>();

describe.each(storages)("what comes out of $label fits its schema", (kind) => {
  let here: World;
  afterEach(async () => {
    await here?.[Symbol.asyncDispose]();
  });

  it("jobs, what is kept with them, what is beside them, and what is told", async () => {
    here = await world(kind);
    const { jobs, clock } = here;
    // Listeners that throw are only logged, so what is wrong is collected.
    const wrong: string[] = [];
    const fits = (name: SchemaName, value: unknown): void => void wrong.push(...misfits(name, value));
    const worker = jobs.worker([task], { name: "one" });
    for (const event of Object.keys(workerEventSchemas) as EventName[]) {
      worker.on(event, (...told: unknown[]) => fits(event, told[0]));
    }
    const stop = new AbortController();
    const ends: string[] = [];
    const following = (async () => {
      for await (const event of jobs.events({ signal: stop.signal, every: 50 })) {
        fits("fleetEventSchema", event);
        ends.push(event.type);
      }
    })();

    await jobs.every("1h", task, { what: "tick" }, { until: new Date(clock.now() + 9e8), first: "now" });
    await jobs.cron("0 9 * * 1", task, { what: "tick" }, { key: "weekly", zone: "Asia/Tokyo" });
    const options = { unique: { key: "u" }, limit: { key: "l", concurrency: 1 }, tags: ["t"] };
    const failing = await jobs.enqueue(task, { what: "fail" }, options);
    const given = await jobs.enqueue(task, { what: "done" }, { id: "mine", maxRetries: Infinity });
    const kept = { unique: { key: "for a while", for: "1d" as const } };
    const others = await jobs.enqueueMany(task, [{ what: "snooze" }, { what: "reschedule" }]);
    const ended = await Promise.all([
      jobs.enqueue(task, { what: "nothing" }, kept),
      jobs.enqueue(task, { what: "cancel" }, { unique: { key: "once", for: Infinity } }),
    ]);
    await runUntilIdle(worker);
    // It tells what happens from its first look on: what ends until then is not told.
    await until(async () => {
      await jobs.enqueue(task, { what: "done" });
      await runUntilIdle(worker);
      return ends.includes("completed");
    });
    const keys = (await jobs.keys({ of: task })).keys;
    expect(keys.map(({ key }) => key).toSorted()).toEqual(["for a while", "once", "u"]);
    for (const key of keys) fits("jobKeySchema", key);
    await clock.advance("1h");
    await runUntilIdle(worker);

    const second = jobs.worker([task], {
      name: "two",
      schedules: [every("1d", task, { what: "daily" }, { key: "daily" })],
    });
    const waiting = await jobs.enqueue(task, { what: "wait" });
    await second.start();
    await until(async () => (await waiting.get())?.state === "running");
    for (const process of await jobs.processes()) fits("processSchema", process);
    fits("jobSchema", await waiting.get());
    await waiting.cancel("enough");
    fits("jobSchema", await waiting.get());
    await waiting.result({ timeout: "1m" });

    for (const { id } of [failing, given, ...others, ...ended, waiting]) {
      fits("jobSchema", await jobs.get(id));
      for (const attempt of await jobs.attempts(id)) fits("attemptSchema", attempt);
      for (const item of await jobs.history(id)) fits("historyItemSchema", item);
      for (const line of await jobs.logs(id)) fits("jobLogLineSchema", line);
    }
    for (const schedule of await jobs.schedules.list()) {
      fits("scheduleSchema", schedule);
      if (schedule.lastJobId !== undefined) fits("jobSchema", await jobs.get(schedule.lastJobId));
    }
    for (const queue of await jobs.queues()) fits("queueSchema", queue);
    fits("statsSchema", await jobs.stats());
    const gone = jobs.handle("999999");
    for (const end of await jobs.waitAll([failing, given, ...ended, gone], { timeout: "1m" })) {
      fits("jobEndSchema", end);
    }
    await until(() => ends.includes("process-joined"));
    await worker.stop();
    await second.stop();
    await until(() => ends.includes("process-left"));
    stop.abort();
    await following;
    expect(wrong).toEqual([]);
  });
});

describe("the schemas", () => {
  afterAll(() => met.clear());

  it("name nothing that never is", () => {
    // Who runs it and why it was asked to end are there only for a moment.
    const rare = new Set(["cancelAsked", "processId"]);
    const never = [...met].flatMap(([name, keys]) =>
      Object.keys((schemas[name]["properties"] as object | undefined) ?? {})
        .filter((key) => !keys.has(key) && !rare.has(key))
        .map((key) => `${name}: ${key}`),
    );
    expect(never).toEqual([]);
  });

  it("fit the events that are rare", () => {
    const job: JobEvent = { id: "7", name: "n", queue: "q", attempt: 1 };
    const rare: { readonly [Event in EventName]?: WorkerEvents[Event][0] } = {
      released: job,
      stale: job,
      slow: { ...job, runningMs: 1 },
      overdue: { ...job, runningMs: 1 },
      blocked: { blockedMs: 1, running: [job] },
      fenced: { processId: "p", aborted: 0 },
      rescued: { ...job, lostProcessId: "p", started: true },
      unhandled: { queue: "q", name: "n", waiting: 1 },
      unserved: { queue: "q", waiting: 1 },
      stuck: { queue: "q", name: "n", id: "7", waiting: 1, waitedMs: 1, why: "busy" },
      storageError: { error: new Error("away"), during: "claim", retryInMs: 1 },
    };
    const wrong = Object.entries(rare).flatMap(([event, told]) => misfits(event as EventName, told));
    expect(wrong).toEqual([]);
    expect([...met.keys()].toSorted()).toEqual(Object.keys(schemas).toSorted());
  });

  it("are frozen, and allow what later versions add", () => {
    for (const schema of Object.values(schemas)) {
      expect(Object.isFrozen(schema)).toBe(true);
      expect(JSON.stringify(schema)).not.toContain("additionalProperties");
    }
    expect(checks.statsSchema.closed({})).toBe(false);
  });
});

/** What is wrong: as JSON it must fit, have no key that is not named, and not fit with a key changed or away. */
function misfits(name: SchemaName, value: unknown): string[] {
  const told = JSON.parse(JSON.stringify(value)) as Record<string, unknown>;
  const { open, closed: exact } = checks[name];
  if (!exact(told)) return [`${name}: ${ajv.errorsText(exact.errors)} in ${JSON.stringify(told)}`];
  const keys = met.get(name) ?? new Set();
  met.set(name, keys);
  const isAnything = (key: string): boolean =>
    ["payload", "result"].includes(key) || (name === "storageError" && key === "error");
  const problems: string[] = [];
  for (const key of Object.keys(told)) {
    keys.add(key);
    if (!isAnything(key) && open({ ...told, [key]: { no: "such" } })) problems.push(`${name}: any ${key}`);
  }
  for (const key of (schemas[name]["required"] as string[] | undefined) ?? []) {
    const { [key]: _, ...rest } = told;
    if (open(rest)) problems.push(`${name}: without ${key}`);
  }
  return problems;
}

/** The same schema, where no object has a key that is not named. */
function closed(schema: unknown): AnySchemaObject {
  if (Array.isArray(schema)) return schema.map(closed) as unknown as AnySchemaObject;
  if (typeof schema !== "object" || schema === null) return schema as AnySchemaObject;
  const parts = Object.fromEntries(Object.entries(schema).map(([key, part]) => [key, closed(part)]));
  return "properties" in schema ? { ...parts, additionalProperties: false } : parts;
}
