import { context, metrics, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { type MeterProvider as Meters, MetricReader, MeterProvider } from "@opentelemetry/sdk-metrics";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import { afterEach, describe, expect, it } from "vitest";
import { type AnyJobDefinition, connect, defineJob, fixed, item, json, snooze } from "../../src/index.ts";
import { MemoryStorage } from "../../src/storage/memory/index.ts";
import { attributeNames, metricNames, telemetry, type TelemetryOptions } from "../../src/telemetry/index.ts";
import { runUntilIdle, TestClock } from "../../src/testing/index.ts";
import { storages, type StorageKind } from "../support/storages.ts";
import { readOwn } from "../support/source-files.ts";
import { gate, until, type World, world } from "../support/world.ts";

// Goal: what OpenTelemetry hears of jobs is complete, linked, named as documented, and never holds a payload.

const SECRET = "s3cr3t";
const memory = storages[0] as StorageKind;

/** Collected when it is asked to. */
class Reader extends MetricReader {
  protected override async onForceFlush(): Promise<void> {}
  protected override async onShutdown(): Promise<void> {}
}

function sink() {
  const exporter = new InMemorySpanExporter();
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
  const reader = new Reader();
  const meters: Meters = new MeterProvider({ readers: [reader] });
  const options: TelemetryOptions = { tracer: provider.getTracer("test"), meter: meters.getMeter("test") };
  return {
    provider,
    meters,
    options,
    spans: () => exporter.getFinishedSpans(),
    points: async (name: string) => {
      const { resourceMetrics } = await reader.collect();
      const all = resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics);
      return all.find((metric) => metric.descriptor.name === name)?.dataPoints ?? [];
    },
  };
}

let here: World;
afterEach(async () => {
  await here?.[Symbol.asyncDispose]();
  for (const api of [trace, metrics, context]) api.disable();
});

const works = defineJob({
  name: "works",
  payload: json<{ secret: string; tenant: string }>(),
  spanAttributes: ({ tenant }) => ({ "app.tenant": tenant }),
  run: ({ secret }) => secret,
});
const fails = defineJob({
  name: "fails",
  payload: json<{ secret: string; tenant: string }>(),
  queue: "other",
  maxRetries: 1,
  backoff: fixed("10s"),
  run: ({ secret }) => {
    throw new RangeError(`about ${secret}`);
  },
});
const payload = { secret: SECRET, tenant: "acme" };

describe("spans", () => {
  it("stand around enqueues and runs, and the run's leads back to the enqueue", async () => {
    const { options, spans } = sink();
    here = await world(memory, { middleware: [telemetry(options)] });
    const { jobs, clock } = here;
    const [a, b] = await jobs.enqueueMany([item(works, payload), item(fails, payload)]);
    const worker = jobs.worker([works, fails]);
    await runUntilIdle(worker);
    await clock.advance("10s");
    await runUntilIdle(worker);
    const [enqueue, ...runs] = spans();
    expect(enqueue).toMatchObject({
      name: "jobwright.enqueue many",
      kind: SpanKind.PRODUCER,
      attributes: { "messaging.system": "jobwright", "messaging.batch.message_count": 2 },
    });
    const facts = runs.map(({ name, kind, attributes, status, events, links, parentSpanContext }) => ({
      ...{ name, kind, code: status.code, status: status.message, parent: parentSpanContext },
      id: attributes[attributeNames.id],
      attempt: attributes[attributeNames.attempt],
      outcome: attributes[attributeNames.outcome],
      error: attributes[attributeNames.error],
      tenant: attributes["app.tenant"],
      events: events.map((event) => event.name),
      leadsBack: links.map((link) => [
        link.context.traceId === enqueue?.spanContext().traceId,
        link.context.spanId === enqueue?.spanContext().spanId,
      ]),
    }));
    const common = { kind: SpanKind.CONSUMER, parent: undefined, leadsBack: [[true, true]] };
    const failed = {
      ...common,
      ...{ name: "jobwright.run fails", id: b?.id, error: "RangeError", tenant: undefined },
      ...{ code: SpanStatusCode.ERROR, status: "RangeError" },
    };
    expect(facts).toEqual([
      {
        ...common,
        ...{ name: "jobwright.run works", id: a?.id, attempt: 1, outcome: "completed", tenant: "acme" },
        ...{ code: SpanStatusCode.UNSET, status: undefined, error: undefined, events: [] },
      },
      { ...failed, attempt: 1, outcome: "retried", events: ["jobwright.retry"] },
      { ...failed, attempt: 2, outcome: "dead", events: [] },
    ]);
    const texts = JSON.stringify(
      spans().map(({ attributes, events, status, name }) => [attributes, events, status, name]),
    );
    expect(texts).not.toContain(SECRET);
  });

  it("of an enqueue in a handler belongs to the run's, and a trace set by hand is kept", async () => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    const { options, spans } = sink();
    here = await world(memory, { middleware: [telemetry(options)] });
    const parent = defineJob({ name: "parent", run: (_payload, ctx) => ctx.jobs.enqueue(works, payload) });
    const byHand = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\nvendor=1";
    await here.jobs.enqueue(parent, 1, { trace: byHand });
    await runUntilIdle(here.jobs.worker([parent, works]));
    const named = (name: string) => spans().find((span) => span.name === name);
    const run = named("jobwright.run parent");
    expect(run?.links[0]?.context).toMatchObject({
      traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
      spanId: "00f067aa0ba902b7",
      isRemote: true,
    });
    expect(run?.links[0]?.context.traceState?.serialize()).toBe("vendor=1");
    const inner = named("jobwright.enqueue works");
    expect(inner?.parentSpanContext?.spanId).toBe(run?.spanContext().spanId);
    expect(named("jobwright.run works")?.links[0]?.context.spanId).toBe(inner?.spanContext().spanId);
  });

  it("of a run that was given up ends with its handler", async () => {
    const { options, spans } = sink();
    here = await world(memory, { middleware: [telemetry(options)] });
    const held = gate();
    const deaf = defineJob({ name: "deaf", run: () => held.promise });
    await here.jobs.enqueue(deaf, 1);
    const worker = here.jobs.worker([deaf]);
    const drained = runUntilIdle(worker);
    await until(() => worker.running === 1);
    await worker.stop({ timeout: 0 });
    expect(spans().map(({ name }) => name)).toEqual(["jobwright.enqueue deaf"]);
    held.open();
    await until(() => spans().length === 2);
    expect(spans()[1]?.attributes[attributeNames.outcome]).toBe("released");
    await drained;
  });

  it("of a refused enqueue and of a bad payload end, too", async () => {
    const { options, spans } = sink();
    here = await world(memory, { middleware: [telemetry(options)] });
    const { jobs } = here;
    await expect(jobs.enqueue(works, 1n as never)).rejects.toThrow("BigInt");
    expect(spans()[0]).toMatchObject({
      attributes: { "error.type": "InvalidPayloadError" },
      status: { code: 2 },
    });
    const strict = defineJob({
      name: "strict",
      payload: {
        "~standard": { version: 1, vendor: "test", validate: () => ({ issues: [{ message: SECRET }] }) },
      },
      run: () => 1,
    });
    await jobs.enqueue(defineJob({ name: "strict" }), 1);
    const rests = defineJob({ name: "rests", run: () => snooze("1h") });
    await jobs.enqueue(rests, 1);
    await runUntilIdle(jobs.worker([strict, rests]));
    const outcomes = spans().map(({ attributes }) => [
      attributes[attributeNames.outcome],
      attributes[attributeNames.error],
    ]);
    // Of several jobs: which one's span ends first is nobody's promise.
    expect(outcomes.filter(([outcome]) => outcome !== undefined).toSorted()).toEqual([
      ["dead", "InvalidPayloadError"],
      ["snoozed", undefined],
    ]);
    expect(JSON.stringify(spans().map(({ attributes, status }) => [attributes, status]))).not.toContain(
      SECRET,
    );
  });
});

describe("metrics", () => {
  it("count and time jobs by name, queue and outcome, and calls of the storage", async () => {
    const { options, points } = sink();
    here = await world(memory, { middleware: [telemetry(options)] });
    const { jobs, clock } = here;
    await jobs.enqueueMany(works, [payload, payload]);
    await jobs.enqueue(fails, payload, { in: "5s" });
    const worker = jobs.worker([works, fails]);
    await runUntilIdle(worker);
    await clock.advance("8s");
    await runUntilIdle(worker);
    const sums = async (name: string) =>
      (await points(name)).map(({ attributes, value }) => [
        attributes[attributeNames.name],
        attributes[attributeNames.queue],
        attributes[attributeNames.outcome],
        typeof value === "number"
          ? value
          : [(value as { count: number }).count, (value as { sum: number }).sum],
      ]);
    expect(await sums(metricNames.enqueued)).toEqual([
      ["works", undefined, undefined, 2],
      ["fails", undefined, undefined, 1],
    ]);
    expect(await sums(metricNames.ended)).toEqual([
      ["works", "default", "completed", 2],
      ["fails", "other", "retried", 1],
    ]);
    expect(await sums(metricNames.wait)).toEqual([
      ["works", "default", undefined, [2, 0]],
      ["fails", "other", undefined, [1, 3]],
    ]);
    expect(await sums(metricNames.lateness)).toEqual([["fails", "other", undefined, [1, 3]]]);
    expect((await sums(metricNames.run)).map(([name, , outcome]) => [name, outcome])).toEqual([
      ["works", "completed"],
      ["fails", "retried"],
    ]);
    const methods = (await points(metricNames.storage)).map(
      ({ attributes }) => attributes[attributeNames.method],
    );
    expect(methods).toEqual(expect.arrayContaining(["enqueue", "exchange"]));
    expect((await points(metricNames.settle)).length).toBe(1);
    const depth = (await points(metricNames.depth)).filter(({ value }) => value !== 0);
    expect(
      depth.map(({ attributes, value }) => [
        attributes[attributeNames.queue],
        attributes[attributeNames.state],
        value,
      ]),
    ).toEqual([
      ["default", "completed", 2],
      ["other", "scheduled", 1],
    ]);
  });

  it("of a closed storage are not asked for any more", async () => {
    const { options, points } = sink();
    const jobs = await connect("memory:", { middleware: [telemetry(options)] });
    await jobs.enqueue(works, payload);
    expect((await points(metricNames.depth)).length).toBeGreaterThan(0);
    await jobs.close();
    const calls = async (): Promise<unknown> => (await points(metricNames.storage)).length;
    const before = await calls();
    await points(metricNames.depth);
    expect(await calls()).toBe(before);
  });

  it("of a storage that could not be opened are not asked for at all", async () => {
    const { options, points } = sink();
    const storage = new MemoryStorage();
    storage.open = () => Promise.reject(new RangeError("no disk"));
    await expect(connect(storage, { middleware: [telemetry(options)] })).rejects.toThrow("no disk");
    await points(metricNames.depth);
    const calls = (await points(metricNames.storage)).map(({ attributes }) => attributes);
    expect(calls).toEqual([{ "jobwright.storage.method": "open", "error.type": "RangeError" }]);
  });
});

describe("without a word", () => {
  const traceOf = async (jobs: World["jobs"], definition: AnyJobDefinition, storage: MemoryStorage) => {
    const { id } = await jobs.enqueue(definition, payload);
    return (await storage.get([Number(id)]))[0]?.trace;
  };

  it("jobs are traced where OpenTelemetry is set up before, and nothing is paid or stored where it is not", async () => {
    const { provider, spans } = sink();
    const clock = new TestClock();
    const storage = new MemoryStorage({ clock });
    const silent = await connect(storage);
    expect(await traceOf(silent, works, storage)).toBeUndefined();
    trace.setGlobalTracerProvider(provider);
    const off = await connect(storage, { telemetry: false });
    expect(await traceOf(off, works, storage)).toBeUndefined();
    const { tracer } = sink().options;
    const chosen = await connect(storage, {
      middleware: [telemetry(tracer === undefined ? {} : { tracer })],
    });
    expect(await traceOf(chosen, works, storage)).toMatch(/^00-/);
    expect(spans()).toEqual([]);
    const jobs = await connect(storage);
    expect(await traceOf(jobs, works, storage)).toMatch(/^00-[\da-f]{32}-[\da-f]{16}-01$/);
    await runUntilIdle(jobs.worker([works]));
    expect(spans().map(({ name }) => name)).toEqual([
      "jobwright.enqueue works",
      ...Array.from({ length: 4 }, () => "jobwright.run works"),
    ]);
    await storage.close();
  });

  it("telemetry can go to several places at once", async () => {
    const [first, second] = [sink(), sink()];
    here = await world(memory, { middleware: [telemetry(first.options), telemetry(second.options)] });
    await here.jobs.enqueue(works, payload);
    await runUntilIdle(here.jobs.worker([works]));
    for (const { spans, points } of [first, second]) {
      expect(spans().map(({ name }) => name)).toEqual(["jobwright.enqueue works", "jobwright.run works"]);
      expect(await points(metricNames.ended)).toHaveLength(1);
    }
  });

  it("what cannot be a sink is refused", async () => {
    expect(() => telemetry({ tracer: {} as never })).toThrow("tracer is an object.");
    expect(() => telemetry({ meter: {} as never })).toThrow("meter is an object.");
    expect(() => telemetry({ traces: 1 } as never)).toThrow('telemetry option is "traces".');
    await expect(connect("memory:", { telemetry: "no" as never })).rejects.toThrow('telemetry is "no".');
    await expect(connect("memory:", { middleware: [{}] })).rejects.toThrow("middleware is an object.");
    await expect(connect("memory:", { keepLogs: 1 as never })).rejects.toThrow("keepLogs is 1.");
    expect(() => defineJob({ name: "x", middleware: [telemetry() as never] })).toThrow(
      "middleware is an object.",
    );
  });
});

it("docs/telemetry.md lists every name", async () => {
  const text = readOwn("docs/telemetry.md");
  const { spanNames } = await import("../../src/telemetry/names.ts");
  const { channels } = await import("../../src/diagnostics.ts");
  const names = [spanNames, attributeNames, metricNames].flatMap((one) => Object.values(one));
  const all = [...names, ...Object.values(channels).map((channel) => String(channel.name))];
  expect(all.filter((name) => !text.includes(`\`${name}\``))).toEqual([]);
});

describe("a broken OpenTelemetry", () => {
  const span = trace.wrapSpanContext({ traceId: "1".repeat(32), spanId: "1".repeat(16), traceFlags: 1 });
  const broken = (): never => {
    throw new Error("the exporter is gone");
  };
  const counter = { add: broken, record: broken, addCallback: () => undefined };
  it.each<[what: string, options: object]>([
    ["at the beginning of a span", { tracer: { startSpan: broken } }],
    ["at its end", { tracer: { startSpan: () => Object.assign(Object.create(span), { end: broken }) } }],
    [
      "in the middle of it",
      {
        tracer: {
          startSpan: () =>
            Object.assign(Object.create(span), { setAttributes: broken, setAttribute: broken }),
        },
      },
    ],
    [
      "at what is measured",
      {
        meter: {
          ...metrics.getMeter("none"),
          createHistogram: () => counter,
          createCounter: () => counter,
          createObservableGauge: () => counter,
        },
      },
    ],
  ])("does no job any harm: %s", async (_what, options) => {
    const told: string[] = [];
    const log = (message: string): void => void told.push(message);
    const logger = { debug: log, info: () => undefined, warn: log, error: log };
    await using jobs = await connect("memory:", {
      logger,
      middleware: [telemetry(options as TelemetryOptions)],
    });
    let runs = 0;
    const work = defineJob({
      name: "work",
      maxRetries: 0,
      payload: json<boolean>(),
      run: (isBad) => {
        runs += 1;
        if (isBad) throw new Error("its own");
        return "done";
      },
    });
    const worker = jobs.worker([work]);
    const good = await jobs.enqueue(work, false);
    const bad = await jobs.enqueue(work, true);
    await runUntilIdle(worker);
    expect(await jobs.waitAll([good, bad], { timeout: "1m" })).toMatchObject([
      { state: "completed", result: "done" },
      { state: "dead", error: { message: "its own" } },
    ]);
    expect([runs, (await jobs.stats()).total.enqueued]).toEqual([2, 2]);
    expect(told.filter((line) => line.includes("the exporter is gone"))).toHaveLength(1);
  });
});
