import { connect, type ConnectOptions } from "../../src/connect.ts";
import type { Jobs } from "../../src/jobs.ts";
import type { Logger } from "../../src/logger.ts";
import type { ProcessBeat } from "../../src/storage/storage.ts";
import { TestClock } from "../../src/testing/index.ts";
import { faulty, type FaultyStorage } from "./faulty-storage.ts";
import type { StorageKind } from "./storages.ts";

export interface LogLine {
  readonly level: keyof Logger;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>> | undefined;
}

/** Jobs on a fresh storage whose time stands still, with faults to plan and every log line kept. */
export interface World extends AsyncDisposable {
  readonly jobs: Jobs;
  readonly clock: TestClock;
  readonly faults: FaultyStorage;
  readonly lines: LogLine[];
  /** Moves the time by which processes are judged lost; only for worlds made with `movesLiveness`. */
  passSilence(ms: number): void;
  /** No beat of this process reaches the storage any more, so it does not hear that it is lost. */
  cutOff(processId: string): void;
  /** Other Jobs on the same storage, as another process would have them. */
  another(options?: ConnectOptions): Promise<Jobs>;
}

export async function world(
  kind: StorageKind,
  options: ConnectOptions & { readonly movesLiveness?: boolean } = {},
): Promise<World> {
  const { movesLiveness = false, ...connectOptions } = options;
  const clock = new TestClock();
  let alive = 1_000_000;
  const real = await kind.create(movesLiveness ? { clock, liveness: () => alive } : { clock });
  const faults = faulty(real);
  const lines: LogLine[] = [];
  const log =
    (level: keyof Logger) =>
    (message: string, details?: Readonly<Record<string, unknown>>): void =>
      void lines.push({ level, message, details });
  const logger: Logger = { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") };
  const all: Jobs[] = [];
  const another = async (more: ConnectOptions = {}): Promise<Jobs> => {
    const jobs = await connect(faults.storage, { logger, random: () => 0, ...connectOptions, ...more });
    all.push(jobs);
    return jobs;
  };
  return {
    jobs: await another(),
    clock,
    faults,
    lines,
    another,
    passSilence: (ms) => void (alive += ms),
    cutOff: (processId) =>
      faults.plan(
        "beat",
        { kind: "reject" },
        Number.POSITIVE_INFINITY,
        ([beat]) => (beat as ProcessBeat).id === processId,
      ),
    [Symbol.asyncDispose]: async () => {
      faults.heal();
      await Promise.allSettled(all.map((jobs) => jobs.close()));
      await real.close();
      await kind.cleanup();
    },
  };
}

/** A promise and its levers. */
export interface Gate<T = void> {
  readonly promise: Promise<T>;
  open(value: T): void;
}

export function gate<T = void>(): Gate<T> {
  let open: (value: T) => void = () => undefined;
  const promise = new Promise<T>((resolve) => (open = resolve));
  return { promise, open };
}

/** Turns of the event loop, for work that needs no time. */
export async function turns(n = 20): Promise<void> {
  for (let turn = 0; turn < n; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve));
}

/** Until something holds; the test's own timeout is the bound. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  // A look may ask a database, and what has not come soon takes its time.
  for (let ms = 1; !(await holds()); ms = Math.min(ms * 1.5, 10)) {
    await new Promise((resolve) => setTimeout(resolve, ms));
  }
}
