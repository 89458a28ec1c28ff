// JSON Schemas of what jobwright answers and tells, for programs that are not written in TypeScript.

export { type JsonSchema } from "./schema.ts";
export { attemptSchema, historyItemSchema, jobEndSchema, jobLogLineSchema, jobSchema } from "./job.ts";
export { jobKeySchema, processSchema, queueSchema, scheduleSchema, statsSchema } from "./looking.ts";
export { fleetEventSchema, type TellingEvent, workerEventSchemas } from "./events.ts";
