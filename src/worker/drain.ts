import type { Upkeep } from "../upkeep/upkeep.ts";
import type { Due } from "./due.ts";
import type { Pipeline } from "./pipeline.ts";

/** Run all that is due, and what becomes due by it, until nothing is left to do. */
export async function drain(
  pipeline: Pipeline,
  upkeep: Upkeep,
  due: Due,
  layLines: () => Promise<unknown>,
): Promise<void> {
  const { slots } = pipeline;
  for (;;) {
    const before = slots.finished;
    await layLines();
    let step = await upkeep.promote();
    while (step.promoted > 0) step = await upkeep.promote();
    due.next(step.nextAt);
    await upkeep.rescue();
    pipeline.refresh();
    await pipeline.caughtUp();
    await pipeline.quiet();
    if (slots.finished === before) break;
  }
  await upkeep.prune();
  // Nothing runs, so no timeout is ahead: a test clock must not stop for one.
  slots.end();
}
