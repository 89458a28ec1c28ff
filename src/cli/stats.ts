import { JOB_STATES } from "../job/job.ts";
import { type CommandModule, withJson } from "./command.ts";
import { type StorageOptions, withJobs, withStorage } from "./storage-url.ts";
import { sheet } from "./table.ts";
import { EXIT } from "./terminal.ts";
import { jsonText } from "./visible.ts";

interface Options extends StorageOptions {
  readonly json?: true;
}

/** How things stand, in one look. */
export const stats: CommandModule = (command, bind) => {
  command.description("Counts the jobs by state, the queues, and the processes that work.");
  withJson(withStorage(command));
  bind<Options>(command, async (_, options, terminal) => {
    const [queues, processes] = await withJobs(options, terminal, (jobs) =>
      Promise.all([jobs.queues(), jobs.processes()]),
    );
    const jobs = Object.fromEntries(
      JOB_STATES.map((state) => [state, queues.reduce((sum, { counts }) => sum + counts[state], 0)]),
    );
    const told = {
      queues: queues.length,
      paused: queues.filter(({ paused }) => paused).length,
      processes: processes.filter(({ lost }) => !lost).length,
      lost: processes.filter(({ lost }) => lost).length,
    };
    terminal.out(
      options.json
        ? `${jsonText({ jobs, ...told })}\n`
        : sheet(Object.entries({ ...jobs, ...told }).map(([name, n]) => [name, String(n)])),
    );
    return EXIT.done;
  });
};
