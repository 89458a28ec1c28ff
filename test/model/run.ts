import { rm } from "node:fs/promises";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import type { Storage } from "../../src/storage/storage.ts";
import { TestClock } from "../../src/testing/test-clock.ts";
import { makeDataFolder } from "../support/postgres/folder.ts";
import { isLong, seed, size } from "../support/size.ts";
import { START_MS } from "./command/draft.ts";
import { LOST_AFTER_MS, register } from "./command/process.ts";
import { command, kinds } from "./commands.ts";
import { compareState } from "./compare.ts";
import { Coverage, MODEL_EVENTS, type ModelEvent } from "./coverage.ts";
import { Model } from "./model.ts";
import { type MakeStorage, Pair, type Time } from "./pair.ts";

/** For the slowest engine on a machine with two cores and much else to do; it takes a tenth of that on a quiet one. */
export const MODEL_TIMEOUT_MS: number = size(300_000, 3_600_000);

export interface ModelRunOptions {
  /** How many random sequences. */
  readonly sequences: number;
  /** Commands of a sequence, on average. */
  readonly commands: number;
  /** Whether the store outlives its storage object: then it is closed and opened again in between. */
  readonly reopen: boolean;
}

/**
 * Drive an engine and the model side by side through random sequences of commands, and fail with the
 * shortest sequence found after which they differ. Fails as well when the run never met something that it
 * is there to meet.
 *
 * `JOBWRIGHT_SEED` repeats a run; with `JOBWRIGHT_PATH` only the sequence that failed.
 */
export function modelRun(label: string, makeStorage: MakeStorage, options: ModelRunOptions): void {
  const what = `${label}: ${options.sequences} random sequences`;
  test(
    `${label}: ${options.sequences} random sequences leave engine and model equal`,
    { timeout: MODEL_TIMEOUT_MS },
    async () => {
      const coverage = new Coverage<ModelEvent>();
      const property = fc.asyncProperty(
        fc.commands([command(options.reopen)], { maxCommands: 2 * options.commands, size: "max" }),
        (commands) => runSequence(makeStorage, options.reopen, coverage, commands),
      );
      await checkProperty(what, property, options.sequences);
      const wanted = kinds(options.reopen).map((one) => one.name);
      expectCoverage(coverage, MODEL_EVENTS, wanted, options.sequences);
    },
  );
}

/** From so many sequences on, the rarest event is expected ten times and more: its absence is no accident. */
const COVERED_FROM_SEQUENCES = 50;

/** `JOBWRIGHT_COVERAGE=1` prints how often each event came. */
export function expectCoverage<Event extends string>(
  coverage: Coverage<Event>,
  events: readonly Event[],
  commands: readonly string[],
  sequences: number,
): void {
  if (process.env["JOBWRIGHT_COVERAGE"] === "1") process.stderr.write(`${coverage.report()}\n`);
  // A replay runs one sequence; what the generator reaches is known from the larger runs.
  if (process.env["JOBWRIGHT_PATH"] !== undefined || sequences < COVERED_FROM_SEQUENCES) return;
  expect(coverage.missing(events, commands), "events that the run never met").toEqual([]);
}

/** Check a property with a seed that is printed, and on failure with the command that repeats it. */
export async function checkProperty(
  what: string,
  property: fc.IAsyncProperty<[Iterable<unknown>] | [unknown]>,
  numRuns: number,
): Promise<void> {
  const path = process.env["JOBWRIGHT_PATH"];
  const details = await fc.check(property as fc.IAsyncProperty<unknown[]>, {
    numRuns,
    seed: seed(what),
    ...(path === undefined ? {} : { path }),
  });
  if (!details.failed) return;
  const [first = "0"] = (details.counterexamplePath ?? "").split(":");
  const long = isLong ? "JOBWRIGHT_LONG=1 " : "";
  const replay = `${long}JOBWRIGHT_SEED=${details.seed} JOBWRIGHT_PATH=${first} npx vitest run test/model.test.ts`;
  throw new Error(`${fc.defaultReportMessage(details)}\n\nReplay: ${replay} -t "${what}"`, {
    cause: details.errorInstance,
  });
}

async function runSequence(
  makeStorage: MakeStorage,
  canReopen: boolean,
  coverage: Coverage<ModelEvent>,
  commands: Iterable<fc.AsyncCommand<Model, Pair>>,
): Promise<void> {
  const model = new Model(START_MS);
  const time: Time = { clock: new TestClock(START_MS), liveness: () => model.live };
  await using store = new Store(makeStorage, time);
  const reopen = async (): Promise<Storage> => {
    await store.close();
    return store.open();
  };
  const pair = new Pair(await store.open(), model, time, coverage, canReopen ? reopen : undefined);
  for (const [slot, id] of pair.slots.entries()) await register(pair, id, LOST_AFTER_MS[slot]);
  await fc.asyncModelRun(() => ({ model, real: pair }), commands);
  await compareState(pair, true);
}

/** One store, in a folder of its own if it wants one. */
export class Store implements AsyncDisposable {
  readonly #make: MakeStorage;
  readonly #time: Time;
  #folder: string | undefined;
  #storage: Storage | undefined;

  constructor(make: MakeStorage, time: Time) {
    this.#make = make;
    this.#time = time;
  }

  async open(): Promise<Storage> {
    const folder = (): string => (this.#folder ??= makeDataFolder());
    this.#storage = await this.#make(this.#time, folder);
    await this.#storage.open();
    return this.#storage;
  }

  async close(): Promise<void> {
    await this.#storage?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
    if (this.#folder !== undefined) await rm(this.#folder, { recursive: true, force: true });
  }
}
