import { untilStopped } from "./long-running.ts";
import { openJobs } from "./storage-url.ts";
import { EXIT, type ExitCode, type Terminal } from "./terminal.ts";
import { jsonText, visible } from "./visible.ts";
import type { WorkPlan } from "./work.ts";

/** How many children, of which kind. */
export interface Children {
  readonly processes: number | undefined;
  readonly threads: number | undefined;
}

/** Work in processes or threads that are started again when they die. */
export async function workSupervised(
  plan: WorkPlan,
  { processes, threads }: Children,
  terminal: Terminal,
): Promise<ExitCode> {
  const { Supervisor } = await import("../supervisor/index.ts");
  const supervisor = new Supervisor({
    modules: plan.modules,
    url: plan.url,
    worker: plan.settings,
    logger: plan.logger,
    ...(threads === undefined ? {} : { threads }),
    ...(processes === undefined ? {} : { processes }),
  });
  return untilStopped(terminal, {
    start: async () => {
      // Whether it can be reached at all is told once and soon, instead of by each child.
      await (await openJobs(plan.url, plan.storage, plan.logger)).close();
      await supervisor.start();
      const many = threads === undefined ? `${processes} processes` : `${threads} threads`;
      const told = { storage: plan.label, processes: processes ?? 1, threads: threads ?? 0 };
      terminal.out(
        plan.json
          ? `${jsonText({ ...told, names: null, queues: null })}\n`
          : `Working on ${visible(plan.label)} in ${many}\n`,
      );
    },
    stop: () => supervisor.stop(),
    ended: EXIT.done,
  });
}
