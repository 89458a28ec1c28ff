import { beatFunctions } from "./beat.ts";
import { claimFunctions } from "./claim.ts";
import { earlierFunctions } from "./earlier.ts";
import { enqueueFunctions } from "./enqueue.ts";
import { limitFunctions } from "./limit.ts";
import { lookFunctions } from "./look.ts";
import { scheduleFunctions } from "./schedule.ts";
import { settleFunctions } from "./settle.ts";
import { sqlFunctions } from "./sql.ts";
import { steerFunctions } from "./steer.ts";
import { tallyFunctions } from "./tally.ts";
import { uniqueFunctions } from "./unique.ts";
import { upkeepFunctions } from "./upkeep.ts";

/**
 * The functions of the newest schema, in the order of a job's life: the living sources. The newest migration writes
 * all of them again. Before a further one is begun, the text of that one is frozen (see `frozen.ts`, and `freeze.ts` of the
 * tests), so that what is changed here from then on belongs to the next.
 */
export function newestFunctions(s: string): string {
  return [
    enqueueFunctions,
    uniqueFunctions,
    limitFunctions,
    claimFunctions,
    settleFunctions,
    beatFunctions,
    upkeepFunctions,
    tallyFunctions,
    scheduleFunctions,
    steerFunctions,
    sqlFunctions,
    lookFunctions,
    earlierFunctions,
  ]
    .map((part) => part(s))
    .join("\n");
}
