import type { Jobs } from "../jobs.ts";
import type { ServedQueue } from "../storage/storage.ts";
import { untilStopped } from "./long-running.ts";
import { openJobs } from "./storage-url.ts";
import { EXIT, type ExitCode, type Terminal } from "./terminal.ts";
import { jsonText, visible } from "./visible.ts";
import type { WorkPlan } from "./work.ts";

/** Work in this process. */
export async function workHere(plan: WorkPlan, terminal: Terminal): Promise<ExitCode> {
  const { loadWorkerModules } = await import("../supervisor/load-modules.ts");
  const { definitions, options } = await loadWorkerModules(plan.modules);
  let opening: Promise<Jobs> | undefined;
  return untilStopped(terminal, {
    start: async () => {
      opening = openJobs(plan.url, plan.storage, plan.logger);
      const jobs = await opening;
      const worker = jobs.worker(definitions, { ...options, ...plan.settings });
      let queues: readonly ServedQueue[] = [];
      worker.once("registered", (about) => (queues = about.queues));
      await worker.start();
      const names = definitions.map(({ name }) => name).sort();
      if (plan.json) {
        const served = queues.map(({ queue, concurrency }) => ({ queue, concurrency }));
        terminal.out(
          `${jsonText({ storage: plan.label, processes: 1, threads: 0, names, queues: served })}\n`,
        );
      } else {
        const slots = queues.map(({ queue, concurrency }) => `${queue}=${concurrency}`).join(", ");
        terminal.out(
          `Working on ${visible(plan.label)}: ${visible(names.join(", "))}; queues ${visible(slots)}\n`,
        );
      }
    },
    // The workers of jobs stop with them.
    stop: async () => (await opening?.catch(() => undefined))?.close(),
    ended: EXIT.done,
  });
}
