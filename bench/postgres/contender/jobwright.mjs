// Ours, as it comes: default options, finished jobs kept, every settle fenced, through the public API.
import { connect, defineJob, json } from "../../../dist/index.js";

export function create() {
  let jobs;
  let onRun = () => undefined;
  const noop = defineJob({
    name: "noop",
    payload: json(),
    run: async (payload) => {
      onRun(payload);
    },
  });

  return {
    /** The first connect installs the schema. */
    async install(url) {
      const installer = await connect(url);
      await installer.close();
    },
    async open(url) {
      jobs = await connect(url);
    },
    look: () => jobs.count({ state: "dead" }),
    one: (payload) => jobs.enqueue(noop, payload),
    bulk: (payloads) => jobs.enqueueMany(noop, payloads),
    async work(heard) {
      onRun = heard;
      const worker = jobs.worker([noop]);
      await worker.start();
      return () => worker.stop();
    },
    async unfinished() {
      const left = await Promise.all(["running", "available"].map((state) => jobs.count({ state })));
      return left.some(({ n }) => n > 0);
    },
    close: () => jobs.close(),
  };
}
