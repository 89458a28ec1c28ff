import * as fc from "fast-check";
import { test } from "vitest";
import { TestClock } from "../../src/testing/test-clock.ts";
import { Client, type Step, step } from "./client.ts";
import { START_MS } from "./command/draft.ts";
import { CONCURRENT_EVENTS, type ConcurrentEvent, Coverage } from "./coverage.ts";
import { Ledger } from "./ledger.ts";
import type { MakeStorage } from "./pair.ts";
import { checkProperty, expectCoverage, MODEL_TIMEOUT_MS, Store } from "./run.ts";

const CLIENTS = 3;
const STEPS = { minLength: 5, maxLength: 30, size: "max" } as const;

/**
 * Let several clients call an engine at once, in interleavings that fast-check chooses and without waiting
 * for each answer. No model says what each answer must be; what must hold in every order is checked by the
 * {@link Ledger}: a job has one holder, is settled once for each claim, and none is lost or made twice.
 */
export function concurrentRun(label: string, makeStorage: MakeStorage, { runs }: { runs: number }): void {
  const what = `${label}: ${CLIENTS} clients at once in ${runs} random interleavings`;
  test(`${what} lose nothing and do nothing twice`, { timeout: MODEL_TIMEOUT_MS }, async () => {
    const coverage = new Coverage<ConcurrentEvent>();
    const program = fc.array(step, STEPS);
    const programs = fc.array(program, { minLength: CLIENTS, maxLength: CLIENTS });
    const property = fc.asyncProperty(fc.tuple(programs, fc.scheduler()), ([steps, scheduler]) =>
      interleave(makeStorage, coverage, steps, scheduler),
    );
    await checkProperty(what, property, runs);
    expectCoverage(coverage, CONCURRENT_EVENTS, [], runs);
  });
}

async function interleave(
  makeStorage: MakeStorage,
  coverage: Coverage<ConcurrentEvent>,
  programs: readonly (readonly Step[])[],
  scheduler: fc.Scheduler,
): Promise<void> {
  const time = { clock: new TestClock(START_MS), liveness: () => 0 };
  await using store = new Store(makeStorage, time);
  const storage = await store.open();
  const ledger = new Ledger(coverage);
  const clients = programs.map((_, at) => new Client(at, storage, ledger, scheduler));
  const ends = programs.map((steps, at) => (clients[at] as Client).run(steps));
  await scheduler.waitFor(Promise.all(ends));
  const drained = new Client(CLIENTS, storage, ledger, scheduler);
  await drained.drain(time.clock);
  await ledger.check(storage);
}
