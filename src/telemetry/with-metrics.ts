import type { Storage } from "../storage/storage.ts";

/** One call of a storage that has ended. */
export interface StorageCall {
  /** The method's name. */
  readonly method: string;
  readonly durationMs: number;
  /** What it threw; absent when it answered. */
  readonly error?: unknown;
  /** What it was about, for methods that take a list first: its length. */
  readonly size?: number;
}

/** Takes what is measured. It must not throw; what it throws is dropped. */
export interface MetricsSink {
  called(call: StorageCall): void;
}

/**
 * Any storage, with every call measured: those of methods that are not invented yet, too. What it answers and throws
 * is what the storage does.
 *
 * @example
 * const sink = prometheusSink();
 * const jobs = await connect(withMetrics(new LmdbStorage({ path: "./jobs" }), sink));
 */
export function withMetrics<S extends Storage>(storage: S, sink: MetricsSink): S {
  const measured = new Map<PropertyKey, unknown>();
  return new Proxy(storage, {
    get(target, property) {
      // Always of the storage itself: its private fields know no proxy.
      const value: unknown = Reflect.get(target, property, target);
      if (typeof value !== "function" || typeof property !== "string") return value;
      let method = measured.get(property);
      if (method === undefined) {
        method = measure(target, property, value as Method, sink);
        measured.set(property, method);
      }
      return method;
    },
  });
}

type Method = (...args: readonly unknown[]) => unknown;

function measure(storage: Storage, method: string, call: Method, sink: MetricsSink): Method {
  return (...args) => {
    const from = performance.now();
    const [first] = args;
    const about = { method, ...(Array.isArray(first) ? { size: first.length } : {}) };
    const tell = (outcome: { readonly error?: unknown }): void => {
      try {
        sink.called({ ...about, durationMs: performance.now() - from, ...outcome });
      } catch {
        // Nobody's job may fail because it could not be measured.
      }
    };
    let answer: unknown;
    try {
      answer = call.apply(storage, args as unknown[]);
    } catch (error) {
      tell({ error });
      throw error;
    }
    if (answer instanceof Promise) {
      answer.then(
        () => tell({}),
        (error: unknown) => tell({ error }),
      );
    } else {
      tell({});
    }
    return answer;
  };
}

/** A sink that shows calls, errors and time by method in the text format that Prometheus reads. */
export function prometheusSink(): MetricsSink & { text(): string } {
  const methods = new Map<string, { calls: number; errors: number; seconds: number }>();
  return {
    called: ({ method, durationMs, ...outcome }) => {
      let counts = methods.get(method);
      if (counts === undefined) methods.set(method, (counts = { calls: 0, errors: 0, seconds: 0 }));
      counts.calls += 1;
      counts.seconds += durationMs / 1_000;
      if ("error" in outcome) counts.errors += 1;
    },
    text: () =>
      (["calls", "errors", "seconds"] as const)
        .flatMap((what) => {
          const name = `jobwright_storage_${what}_total`;
          const lines = [...methods].map(([method, counts]) => `${name}{method="${method}"} ${counts[what]}`);
          return [`# HELP ${name} ${HELP[what]}`, `# TYPE ${name} counter`, ...lines];
        })
        .concat("")
        .join("\n"),
  };
}

const HELP = {
  calls: "Calls of the storage, by method.",
  errors: "Calls that failed, by method.",
  seconds: "Time that calls took, by method.",
} as const;
