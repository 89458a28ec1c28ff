// Another job of a name that jobs.mjs has.
import { defineJob } from "jobwright";

export const add = defineJob({ name: "add", run: () => "another" });
