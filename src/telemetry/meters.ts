import type { BatchObservableResult, Counter, Histogram, Meter, ObservableGauge } from "@opentelemetry/api";
import { serializeError } from "../job/error.ts";
import { JOB_STATES, type JobState } from "../job/job.ts";
import type { DecidedRun } from "../observer.ts";
import type { Storage } from "../storage/storage.ts";
import { attributeNames, metricNames } from "./names.ts";
import type { MetricsSink } from "./with-metrics.ts";

/** Queues told one by one: names made by data must not flood a monitor. */
const QUEUES_MAX = 200;

/** The instruments, and what is told them. Names are attributes, ids and payloads never are. */
export class Meters {
  readonly #meter: Meter;
  readonly #enqueued: Counter;
  readonly #ended: Counter;
  readonly #wait: Histogram;
  readonly #lateness: Histogram;
  readonly #run: Histogram;
  readonly #settle: Histogram;
  readonly #storage: Histogram;
  readonly #depth: ObservableGauge;

  constructor(meter: Meter) {
    const seconds = (name: string, description: string): Histogram =>
      meter.createHistogram(name, { unit: "s", description, advice: { explicitBucketBoundaries: BUCKETS } });
    this.#meter = meter;
    this.#enqueued = meter.createCounter(metricNames.enqueued, { description: "Jobs that were handed in." });
    this.#ended = meter.createCounter(metricNames.ended, { description: "Runs that ended." });
    this.#wait = seconds(metricNames.wait, "From the earliest start of a job to its start.");
    this.#lateness = seconds(metricNames.lateness, "The wait of jobs that were given a time.");
    this.#run = seconds(metricNames.run, "From start to end of a run.");
    this.#settle = seconds(metricNames.settle, "Calls that tell the storage what has ended.");
    this.#storage = seconds(metricNames.storage, "Calls of the storage.");
    this.#depth = meter.createObservableGauge(metricNames.depth, { description: "Jobs by queue and state." });
  }

  enqueued(names: readonly string[], count: number): void {
    const [name] = names;
    this.#enqueued.add(
      count,
      names.length === 1 && name !== undefined ? { [attributeNames.name]: name } : {},
    );
  }

  ended({ name, queue, outcome, waitedMs, wasTimed, durationMs }: DecidedRun): void {
    const lane = { [attributeNames.name]: name, [attributeNames.queue]: queue };
    const ended = { ...lane, [attributeNames.outcome]: outcome };
    this.#ended.add(1, ended);
    this.#run.record(durationMs / 1_000, ended);
    this.#wait.record(waitedMs / 1_000, lane);
    if (wasTimed) this.#lateness.record(waitedMs / 1_000, lane);
  }

  /** What is to be told of a storage: its calls by the sink, its depth when a reader asks, from its opening to its close. */
  watch(storage: Storage): MetricsSink {
    const observe = (result: BatchObservableResult): Promise<void> => this.#observe(storage, result);
    return {
      called: ({ method, durationMs, size, ...outcome }) => {
        const failed =
          "error" in outcome ? { [attributeNames.error]: serializeError(outcome.error).name } : {};
        this.#storage.record(durationMs / 1_000, { [attributeNames.method]: method, ...failed });
        const settles = (method === "settle" || method === "exchange") && size !== undefined && size > 0;
        if (settles) this.#settle.record(durationMs / 1_000, failed);
        // Who could not be opened is not asked, and nobody would ever take it back.
        if (method === "open" && !("error" in outcome)) {
          this.#meter.addBatchObservableCallback(observe, [this.#depth]);
        }
        if (method === "close") this.#meter.removeBatchObservableCallback(observe, [this.#depth]);
      },
    };
  }

  async #observe(storage: Storage, result: BatchObservableResult): Promise<void> {
    const depths = new Map<string, Map<JobState, number>>();
    try {
      const { lanes } = await storage.lanes();
      for (const { queue, counts } of lanes) {
        const known = depths.has(queue) || depths.size < QUEUES_MAX ? queue : "(others)";
        const states = depths.get(known) ?? new Map<JobState, number>();
        for (const state of JOB_STATES) states.set(state, (states.get(state) ?? 0) + counts[state]);
        depths.set(known, states);
      }
    } catch {
      // A storage that does not answer has no depth; its failed calls are counted.
      return;
    }
    for (const [queue, states] of depths) {
      for (const [state, n] of states) {
        result.observe(this.#depth, n, { [attributeNames.queue]: queue, [attributeNames.state]: state });
      }
    }
  }
}

/** In seconds: jobs take from a fraction of a millisecond to an hour. */
const BUCKETS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300, 900, 3_600];
