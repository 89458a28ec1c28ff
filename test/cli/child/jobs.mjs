// A worker module as a user writes one: what it exports is what `jobwright work` runs.
import { defineJob } from "jobwright";

export const add = defineJob({ name: "add", run: ({ a, b }) => ({ sum: a + b }) });

export const images = defineJob({ name: "resize", queue: "images", run: ({ file }) => `${file} is small` });

/** Goes on until it is told to stop, and says when it begins. */
export const endless = defineJob({
  name: "endless",
  run: (_payload, { signal }) =>
    new Promise((_, reject) => {
      process.stdout.write("endless began\n");
      signal.addEventListener("abort", () => reject(signal.reason));
    }),
});

/** Fails where nobody catches it, a moment after the job is done. */
export const stray = defineJob({
  name: "stray",
  run: () => {
    setImmediate(() => {
      throw new Error("nobody\u001b[31m caught\nthis");
    });
    return "done";
  },
});

export const worker = { name: "from the module", shutdownTimeout: "20s" };
