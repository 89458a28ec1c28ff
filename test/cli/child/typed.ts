import { defineJob, type JobDefinition, json } from "jobwright";

export const double: JobDefinition<"double", number, number, number, unknown> = defineJob({
  name: "double",
  payload: json<number>(),
  run: (n) => n * 2,
});
