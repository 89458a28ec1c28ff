import * as fc from "fast-check";
import { claimKinds } from "./command/claim.ts";
import { type Kind, kind } from "./command/command.ts";
import { enqueueKinds } from "./command/enqueue.ts";
import { keyedKinds } from "./command/keyed.ts";
import { longLifeKinds } from "./command/long-life.ts";
import { lookKinds } from "./command/look.ts";
import { processKinds } from "./command/process.ts";
import { scheduleKinds } from "./command/schedule.ts";
import { settleKinds } from "./command/settle.ts";
import { steerKinds } from "./command/steer.ts";
import { upkeepKinds } from "./command/upkeep.ts";
import type { Model } from "./model.ts";
import type { Pair } from "./pair.ts";

/** Everything that can be done to a storage, in the order in which a job lives. */
const KINDS: readonly Kind[] = [
  ...enqueueKinds,
  ...claimKinds,
  ...settleKinds,
  ...processKinds,
  ...upkeepKinds,
  ...scheduleKinds,
  ...lookKinds,
  ...steerKinds,
  ...keyedKinds,
  ...longLifeKinds,
];

const reopen: Kind = kind("reopen", 12, fc.constant(null), async (pair) => {
  if (pair.reopen !== undefined) pair.storage = await pair.reopen();
});

/** @param canReopen whether a store outlives its storage object */
export function kinds(canReopen: boolean): readonly Kind[] {
  return canReopen ? [...KINDS, reopen] : KINDS;
}

/** A command, drawn by its kind's weight. */
export function command(canReopen: boolean): fc.Arbitrary<fc.AsyncCommand<Model, Pair>> {
  return fc.oneof(...kinds(canReopen));
}
