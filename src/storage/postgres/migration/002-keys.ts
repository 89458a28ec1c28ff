import { headChange } from "./002-keys/head-change.ts";
import { rights } from "./002-keys/rights.ts";
import { tables } from "./002-keys/tables.ts";
import type { Migration } from "./migration.ts";
import { newestFunctions } from "./newest/newest.ts";

/** Functions that get a parameter more: calls without it go to the new ones. */
const REPLACED = [
  "complete(double precision, bigint[], integer[], text[], integer[], integer[], double precision[], json, json, text[])",
  "beat(double precision, double precision, text, text, text, integer, double precision, text, boolean, boolean, boolean, " +
    "bigint[], integer[], text[], integer[], integer[], bigint[], integer[], text[], integer[], integer[], text[])",
];

const NEW_TABLES = ["unique_key", "slot", "blocked", "freed", "stat", "schedule", "log"];

/** Unique keys, limit keys, schedules, statistics, logs. */
export const keys: Migration = {
  version: 2,
  name: "keys",
  sql: (schema) =>
    [
      tables(schema),
      headChange(schema),
      ...REPLACED.map((signature) => `drop function ${schema}.${signature};\n`),
      newestFunctions(schema),
      rights(schema, NEW_TABLES, ["revision_seq"]),
    ].join("\n"),
};
