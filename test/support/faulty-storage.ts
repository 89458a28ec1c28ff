import { StorageUnavailableError } from "../../src/errors.ts";
import type { Storage } from "../../src/storage/storage.ts";

export type Method = {
  [K in keyof Storage]-?: Required<Storage>[K] extends (...args: never[]) => Promise<unknown> ? K : never;
}[keyof Storage];

export type Fault =
  /** Fails and has done nothing. */
  | { readonly kind: "reject"; readonly error?: unknown }
  /** Does it, and fails: the answer is lost. */
  | { readonly kind: "commit-then-reject"; readonly error?: unknown }
  /** Does nothing and never answers. */
  | { readonly kind: "silent" }
  /** Waits for `until`, then does it. */
  | { readonly kind: "delay"; readonly until: Promise<unknown> }
  /** Does it, and answers after `until`. */
  | { readonly kind: "late-answer"; readonly until: Promise<unknown> };

interface Planned {
  readonly method: Method;
  readonly fault: Fault;
  readonly when: (args: readonly unknown[]) => boolean;
  left: number;
}

/** A storage between the code under test and a real one: fails as planned, counts every call. */
export interface FaultyStorage {
  readonly storage: Storage;
  /** Calls that have begun, by method. */
  readonly calls: Map<string, number>;
  /** The arguments of each call of a method. */
  args(method: Method): readonly (readonly unknown[])[];
  /** The next `times` calls of a method (that `when` means) fail like this. */
  plan(method: Method, fault: Fault, times?: number, when?: (args: readonly unknown[]) => boolean): void;
  /** Nothing fails any more. */
  heal(): void;
  /** No hint reaches anybody any more. */
  loseHints(): void;
  /** Resolves when this many calls of a method have begun. */
  called(method: Method, times: number): Promise<void>;
  /** Resolves when the storage has done this many calls of a method, whoever has heard of it. */
  done(method: Method, times: number): Promise<void>;
  /** Listen to every answer of a method, just before its caller hears it. */
  listen<M extends Method>(method: M, heard: (answer: Answer<M>) => void): void;
}

type Answer<M extends Method> = Storage[M] extends (...args: never[]) => Promise<infer A> ? A : never;

export function faulty(real: Storage): FaultyStorage {
  const calls = new Map<string, number>();
  const log = new Map<string, (readonly unknown[])[]>();
  let planned: Planned[] = [];
  let losesHints = false;
  const begun = new Counter(calls);
  const done = new Counter(new Map());
  const listeners = new Map<Method, (answer: never) => void>();

  const call = async (method: Method, args: readonly unknown[]): Promise<unknown> => {
    const all = log.get(method) ?? [];
    all.push(args);
    log.set(method, all);
    begun.count(method);
    const pass = async (): Promise<unknown> => {
      const answer = await (real[method] as (...given: unknown[]) => Promise<unknown>).apply(real, [...args]);
      done.count(method);
      return answer;
    };
    const plan = planned.find((one) => one.method === method && one.left > 0 && one.when(args));
    if (plan === undefined) return pass();
    plan.left -= 1;
    const { fault } = plan;
    switch (fault.kind) {
      case "reject":
        throw fault.error ?? new StorageUnavailableError("planned");
      case "commit-then-reject":
        await pass();
        throw fault.error ?? new StorageUnavailableError("planned, after the commit");
      case "silent":
        return new Promise(() => undefined);
      case "delay":
        await fault.until;
        return pass();
      case "late-answer": {
        const answer = await pass();
        await fault.until;
        return answer;
      }
    }
  };

  const storage = new Proxy(real, {
    get: (_target, key: keyof Storage) => {
      if (key === "label" || key === "clock") return real[key];
      if (key === "watch") {
        return (...args: Parameters<Storage["watch"]>) => {
          const [interest, wake] = args;
          return real.watch(interest, () => losesHints || wake());
        };
      }
      if (typeof real[key] !== "function") return real[key];
      // What answers at once cannot be late.
      if (key === "enqueueSync") return real.enqueueSync?.bind(real);
      return async (...args: unknown[]) => {
        const answer = await call(key, args);
        listeners.get(key)?.(answer as never);
        return answer;
      };
    },
  });

  return {
    storage,
    calls,
    args: (method) => log.get(method) ?? [],
    plan: (method, fault, times = 1, when = () => true) =>
      void planned.push({ method, fault, when, left: times }),
    heal: () => (planned = []),
    loseHints: () => (losesHints = true),
    called: (method, times) => begun.reaches(method, times),
    done: (method, times) => done.reaches(method, times),
    listen: (method, heard) => void listeners.set(method, heard),
  };
}

/** Counts by method, for those who wait for a number of calls. */
class Counter {
  readonly #counts: Map<string, number>;
  #waiters: { method: string; times: number; resolve: () => void }[] = [];

  constructor(counts: Map<string, number>) {
    this.#counts = counts;
  }

  count(method: Method): void {
    const count = (this.#counts.get(method) ?? 0) + 1;
    this.#counts.set(method, count);
    this.#waiters = this.#waiters.filter((waiter) => {
      if (waiter.method !== method || count < waiter.times) return true;
      waiter.resolve();
      return false;
    });
  }

  reaches(method: Method, times: number): Promise<void> {
    return new Promise((resolve) => {
      if ((this.#counts.get(method) ?? 0) >= times) resolve();
      else this.#waiters.push({ method, times, resolve });
    });
  }
}
