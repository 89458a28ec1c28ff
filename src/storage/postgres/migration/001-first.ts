import type { Migration } from "./migration.ts";
import { beatFunctions } from "./first/beat.ts";
import { claimFunctions } from "./first/claim.ts";
import { enqueueFunctions } from "./first/enqueue.ts";
import { lookFunctions } from "./first/look.ts";
import { settleFunctions } from "./first/settle.ts";
import { steerFunctions } from "./first/steer.ts";
import { sqlFunctions } from "./first/sql.ts";
import { tables } from "./first/tables.ts";
import { upkeepFunctions } from "./first/upkeep.ts";

/** Everything the engine needs, in the order of a job's life. */
export const first: Migration = {
  version: 1,
  name: "first",
  sql: (schema) =>
    [
      tables,
      enqueueFunctions,
      claimFunctions,
      settleFunctions,
      beatFunctions,
      upkeepFunctions,
      steerFunctions,
      sqlFunctions,
      lookFunctions,
    ]
      .map((part) => part(schema))
      .join("\n"),
};
