import { InvalidOptionError, StorageUnavailableError } from "../errors.ts";
import type { Interest, Storage, Unwatch } from "../storage/storage.ts";
import { type CheckedPlan, checkPlan, type FaultCall, type FaultKind, type FaultPlan } from "./fault-plan.ts";

/** What a faulty storage tells of its faults. */
export interface Faults {
  /** With it, the same calls meet the same faults again. `undefined` when a function decides. */
  readonly seed: number | undefined;
  /** Faults until now. A hint that did not come is `lost`. */
  readonly counts: { readonly failed: number; readonly lost: number; readonly delayed: number };
  /** Calls of a method until now; of `watch`, hints. */
  calls(method: string): number;
  /** From now on nothing goes wrong. */
  heal(): void;
}

/** A storage that does what the other one does, when it does it. */
export type FaultyStorage<S extends Storage = Storage> = S & { readonly faults: Faults };

/**
 * A storage whose calls fail, lose their answers and come late, and whose hints get lost: what networks and
 * databases do. Failures are `StorageUnavailableError`, as with a real engine. `open` and `close` always work.
 *
 * @param plan which calls: by chance (the seed is printed when you give none), or by a function
 * @throws InvalidOptionError
 *
 * @example
 * const storage = faulty(new MemoryStorage(), { seed: 7, rates: { fail: 0.1, lose: 0.1 } });
 * const jobs = await connect(storage);
 *
 * @example
 * faulty(storage, ({ method, n }) => (method === "enqueue" && n === 1 ? "lose" : undefined));
 */
export function faulty<S extends Storage>(storage: S, plan: FaultPlan = {}): FaultyStorage<S> {
  if (typeof storage?.exchange !== "function") {
    throw new InvalidOptionError("storage", storage, "Use a storage, like new MemoryStorage().");
  }
  const checked = checkPlan(plan);
  if (typeof plan === "object" && plan.seed === undefined) {
    process.stderr.write(
      `faulty: seed ${checked.seed} (again: faulty(storage, { seed: ${checked.seed} }))\n`,
    );
  }
  const between = new Between(checked);
  // Whatever the contract has, or comes to have, passes here: a list of methods would miss the next one.
  return new Proxy(storage, {
    get(target, key) {
      if (key === "faults") return between;
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== "function") return value;
      const method = value as (...args: unknown[]) => unknown;
      if (typeof key !== "string" || key === "open" || key === "close") return method.bind(target);
      if (key === "watch") {
        return (interest: Interest, wake: () => void): Unwatch => {
          let isOver = false;
          const unwatch = target.watch(interest, () => between.hint(() => isOver || wake()));
          return () => {
            isOver = true;
            unwatch();
          };
        };
      }
      return (...args: unknown[]) => between.call(key, args, () => method.apply(target, args));
    },
    has: (target, key) => key === "faults" || Reflect.has(target, key),
  }) as FaultyStorage<S>;
}

/** Stands between who calls and the storage. */
class Between implements Faults {
  readonly #plan: CheckedPlan;
  readonly #calls = new Map<string, number>();
  readonly #counts: Record<FaultKind, number> = { fail: 0, lose: 0, delay: 0 };
  #isHealed = false;

  constructor(plan: CheckedPlan) {
    this.#plan = plan;
  }

  get seed(): number | undefined {
    return this.#plan.seed;
  }

  get counts(): Faults["counts"] {
    const { fail, lose, delay } = this.#counts;
    return { failed: fail, lost: lose, delayed: delay };
  }

  calls(method: string): number {
    return this.#calls.get(method) ?? 0;
  }

  heal(): void {
    this.#isHealed = true;
  }

  call(method: string, args: readonly unknown[], pass: () => unknown): unknown {
    const call = this.#count(method, args);
    // By name, since a method that answers at once must not be asked first to find out that it does.
    return method.endsWith("Sync") ? this.#atOnce(call, pass) : this.#inTime(call, pass);
  }

  hint(wake: () => void): void {
    const call = this.#count("watch", []);
    const fault = this.#faultOf(call);
    if (fault === undefined) wake();
    else if (fault === "delay") setTimeout(wake, this.#delayMs(call)).unref();
  }

  async #inTime(call: FaultCall, pass: () => unknown): Promise<unknown> {
    switch (this.#faultOf(call)) {
      case undefined:
        return pass();
      case "fail":
        throw this.#error(call, "was not made");
      case "lose":
        await pass();
        throw this.#error(call, "was made, but its answer is lost");
      case "delay": {
        const { beforeMs, afterMs } = this.#plan.delayOf(call);
        await after(beforeMs);
        const answer = await pass();
        await after(afterMs);
        return answer;
      }
    }
  }

  /** Who answers at once cannot be late. */
  #atOnce(call: FaultCall, pass: () => unknown): unknown {
    const fault = this.#faultOf(call, false);
    if (fault === "fail") throw this.#error(call, "was not made");
    const answer = pass();
    if (fault === "lose") throw this.#error(call, "was made, but its answer is lost");
    return answer;
  }

  #count(method: string, args: readonly unknown[]): FaultCall {
    const n = this.calls(method) + 1;
    this.#calls.set(method, n);
    return { method, n, args };
  }

  #faultOf(call: FaultCall, canWait = true): FaultKind | undefined {
    let fault = this.#isHealed ? undefined : this.#plan.faultOf(call);
    if (fault === "delay" && !canWait) fault = undefined;
    // Of a hint there is no answer to lose: it comes or it does not.
    if (fault === "fail" && call.method === "watch") fault = "lose";
    if (fault !== undefined) this.#counts[fault] += 1;
    return fault;
  }

  #delayMs(call: FaultCall): number {
    const { beforeMs, afterMs } = this.#plan.delayOf(call);
    return beforeMs + afterMs;
  }

  #error({ method, n }: FaultCall, what: string): StorageUnavailableError {
    const seed = this.seed === undefined ? "" : `, seed ${this.seed}`;
    return new StorageUnavailableError(`Call ${n} of ${method} ${what}: planned by faulty()${seed}.`);
  }
}

/** No turn of the event loop for nothing. */
async function after(ms: number): Promise<void> {
  if (ms > 0) await new Promise<void>((resolve) => setTimeout(resolve, ms));
}
