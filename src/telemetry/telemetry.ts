import { createRequire } from "node:module";
import type * as OpenTelemetry from "@opentelemetry/api";
import type { Context, Meter, MeterProvider, Span, Tracer, TracerProvider } from "@opentelemetry/api";
import { InvalidOptionError, MissingDependencyError } from "../errors.ts";
import { serializeError } from "../job/error.ts";
import { checkKnown } from "../known-options.ts";
import type { DecidedRun, EnqueueCall, ObservedRun, Observer } from "../observer.ts";
import type { Storage } from "../storage/storage.ts";
import { Meters } from "./meters.ts";
import { attributeNames, spanNames } from "./names.ts";
import { traceOf, contextOf } from "./trace.ts";
import { withMetrics } from "./with-metrics.ts";

/** Where telemetry goes; what is not said goes where OpenTelemetry was set up to. */
export interface TelemetryOptions {
  /** For spans. @default trace.getTracer("jobwright") */
  readonly tracer?: Tracer;
  /** For metrics. @default metrics.getMeter("jobwright") */
  readonly meter?: Meter;
}

/**
 * Spans and metrics of OpenTelemetry, for the `middleware` of `connect`. It is there by itself where OpenTelemetry was
 * set up before `connect`; say it to choose where it goes, and several times to have it in several places.
 *
 * @throws MissingDependencyError without the package `@opentelemetry/api`
 * @throws InvalidOptionError
 *
 * @example
 * const jobs = await connect("lmdb:./jobs", { middleware: [telemetry({ tracer: provider.getTracer("jobs") })] });
 */
export function telemetry(options: TelemetryOptions = {}): Observer {
  checkKnown("telemetry option", options, ["tracer", "meter"]);
  const { tracer, meter } = options;
  if (tracer !== undefined && typeof tracer.startSpan !== "function") {
    throw new InvalidOptionError("tracer", tracer, "Use a Tracer of OpenTelemetry.");
  }
  if (meter !== undefined && typeof meter.createHistogram !== "function") {
    throw new InvalidOptionError("meter", meter, "Use a Meter of OpenTelemetry.");
  }
  const api = loadApi();
  return new Telemetry(
    api,
    tracer ?? (api.trace as TracerProvider).getTracer("jobwright"),
    meter ?? (api.metrics as MeterProvider).getMeter("jobwright"),
  );
}

function loadApi(): typeof OpenTelemetry {
  try {
    return createRequire(import.meta.url)("@opentelemetry/api") as typeof OpenTelemetry;
  } catch (error) {
    throw new MissingDependencyError("telemetry()", "@opentelemetry/api", error);
  }
}

class Telemetry implements Observer {
  readonly #api: typeof OpenTelemetry;
  readonly #tracer: Tracer;
  readonly #meters: Meters;
  /** Spans of runs that are under way, by run. */
  readonly #spans = new WeakMap<object, RunSpan>();

  constructor(api: typeof OpenTelemetry, tracer: Tracer, meter: Meter) {
    this.#api = api;
    this.#tracer = tracer;
    this.#meters = new Meters(meter);
  }

  watching<S extends Storage>(storage: S): S {
    return withMetrics(storage, this.#meters.watch(storage));
  }

  async enqueued<T>(
    { names, count }: EnqueueCall,
    store: (trace: string | undefined) => Promise<T>,
  ): Promise<T> {
    const { context, trace, SpanKind, SpanStatusCode } = this.#api;
    const [name] = names;
    const span = this.#tracer.startSpan(`${spanNames.enqueue} ${names.length === 1 ? name : "many"}`, {
      kind: SpanKind.PRODUCER,
      attributes: {
        [attributeNames.system]: "jobwright",
        [attributeNames.operation]: "send",
        [attributeNames.count]: count,
        ...(names.length === 1 && name !== undefined ? { [attributeNames.name]: name } : {}),
      },
    });
    try {
      const within = trace.setSpan(context.active(), span);
      const stored = await context.with(within, () => store(traceOf(this.#api, span)));
      this.#meters.enqueued(names, count);
      return stored;
    } catch (thrown) {
      const { name: kind } = serializeError(thrown);
      span.setAttribute(attributeNames.error, kind);
      span.setStatus({ code: SpanStatusCode.ERROR, message: kind });
      throw thrown;
    } finally {
      span.end();
    }
  }

  async ran(job: ObservedRun, run: () => unknown): Promise<unknown> {
    const { context, trace, ROOT_CONTEXT, SpanKind } = this.#api;
    const cause = contextOf(this.#api, job.trace);
    const span = this.#tracer.startSpan(
      `${spanNames.run} ${job.name}`,
      {
        kind: SpanKind.CONSUMER,
        ...(cause === undefined ? {} : { links: [{ context: cause }] }),
        attributes: {
          [attributeNames.system]: "jobwright",
          [attributeNames.operation]: "process",
          [attributeNames.queue]: job.queue,
          [attributeNames.id]: job.id,
          [attributeNames.name]: job.name,
          [attributeNames.attempt]: job.attempt,
        },
      },
      ROOT_CONTEXT,
    );
    const around = new RunSpan(this.#api, span);
    this.#spans.set(job.run, around);
    const within: Context = trace.setSpan(ROOT_CONTEXT, span);
    try {
      return await context.with(within, async () => run());
    } finally {
      span.setAttributes({ ...job.attributes() });
      around.handlerEnded();
    }
  }

  decided(decided: DecidedRun): void {
    this.#meters.ended(decided);
    this.#spans.get(decided.run)?.decided(decided);
  }
}

/** A run's span: it ends when the handler has ended and its outcome is known, whichever comes first. */
class RunSpan {
  readonly #api: typeof OpenTelemetry;
  readonly #span: Span;
  #isDecided = false;
  #endedAt: number | undefined;

  constructor(api: typeof OpenTelemetry, span: Span) {
    this.#api = api;
    this.#span = span;
  }

  handlerEnded(): void {
    this.#endedAt = Date.now();
    if (this.#isDecided) this.#span.end(this.#endedAt);
  }

  decided({ outcome, error }: DecidedRun): void {
    if (this.#isDecided) return;
    this.#isDecided = true;
    this.#span.setAttribute(attributeNames.outcome, outcome);
    if (error !== undefined) {
      this.#span.setAttribute(attributeNames.error, error.name);
      // The message may quote anything, a payload too: it is with the job, for those who may see that.
      this.#span.setStatus({ code: this.#api.SpanStatusCode.ERROR, message: error.name });
    }
    if (outcome === "retried") this.#span.addEvent(spanNames.retry);
    if (this.#endedAt !== undefined) this.#span.end(this.#endedAt);
  }
}
