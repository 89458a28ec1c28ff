import type { Command } from "commander";
import type { JobError } from "../job/job.ts";
import { type Attempt, type Job, toJobId } from "../view.ts";
import { type Bind, withJson } from "./command.ts";
import { attemptJson, jobJson } from "./job-json.ts";
import { attemptsOf, instantText } from "./jobs-list.ts";
import { type StorageOptions, withJobs, withStorage } from "./storage-url.ts";
import { sheet, table } from "./table.ts";
import { EXIT } from "./terminal.ts";
import { jsonText, visible } from "./visible.ts";

interface Options extends StorageOptions {
  readonly json?: true;
}

export function showCommand(parent: Command, bind: Bind): void {
  const command = parent
    .command("show")
    .summary("show one job in full")
    .description("Shows one job in full: payload, result, error and failed attempts.")
    .usage("<id> [options]")
    .argument("<id>", "number of the job");
  withJson(withStorage(command));
  bind<Options>(command, async ([id = ""], options, terminal) => {
    toJobId(id);
    const [job, attempts] = await withJobs(options, terminal, (jobs) =>
      Promise.all([jobs.get(id), jobs.attempts(id)]),
    );
    if (job === undefined) {
      terminal.error(`Job ${id} is not in the storage: it was pruned, removed, or never enqueued there.`);
      return EXIT.notFound;
    }
    terminal.out(
      options.json
        ? `${jsonText({ ...jobJson(job), attempts: attempts.map(attemptJson) })}\n`
        : sheetOf(job, attempts, terminal.columns),
    );
    return EXIT.done;
  });
}

function sheetOf(job: Job, attempts: readonly Attempt[], columns: number | undefined): string {
  const { error, startedAt, endedAt, result } = job;
  const entries: [string, string | undefined][] = [
    ["id", job.id],
    ["name", job.name],
    ["queue", job.queue],
    ["state", job.state],
    ["priority", String(job.priority)],
    ["attempts", attemptsOf(job)],
    ["created", instantText(job.createdAt)],
    ["run at", instantText(job.runAt)],
    ["started", startedAt === undefined ? undefined : instantText(startedAt)],
    ["ended", endedAt === undefined ? undefined : instantText(endedAt)],
    ["tags", job.tags.length === 0 ? undefined : job.tags.join(", ")],
    ["given id", job.givenId],
    ["process", job.processId],
    ["snoozes", job.snoozes === 0 ? undefined : String(job.snoozes)],
    ["releases", job.releases === 0 ? undefined : String(job.releases)],
    ["reason", job.reason],
    ["cancel asked", job.cancelAsked],
    ["payload", jsonText(job.payload)],
    ["result", result === undefined ? undefined : jsonText(result)],
    ["error", error === undefined ? undefined : `${error.name}: ${error.message}`],
  ];
  const told = entries.filter((entry): entry is [string, string] => entry[1] !== undefined);
  return sheet(told) + stackOf(error) + attemptTable(attempts, columns);
}

/** Where the last error came from, line by line. */
function stackOf(error: JobError | undefined): string {
  const frames = (error?.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line));
  return frames.map((frame) => `  ${visible(frame.trim())}\n`).join("");
}

function attemptTable(attempts: readonly Attempt[], columns: number | undefined): string {
  if (attempts.length === 0) return "";
  const rows = attempts.map(({ number, startedAt, endedAt, processId, error }) => [
    String(number),
    instantText(startedAt),
    `${endedAt.getTime() - startedAt.getTime()} ms`,
    processId,
    `${error.name}: ${error.message}`,
  ]);
  return `\n${table(["FAILURE", "STARTED", "RAN", "PROCESS", "ERROR"], rows, columns)}`;
}
