// What its handlers need cannot be had.
import { defineJob } from "jobwright";

export const add = defineJob({ name: "add", run: () => "never" });
export const worker = {
  state: () => {
    throw new Error("no state today");
  },
};
