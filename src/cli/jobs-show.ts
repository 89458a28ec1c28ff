import type { Command } from "commander";
import type { JobError } from "../job/job.ts";
import type { JobLogLine } from "../look.ts";
import type { HistoryItem } from "../timeline.ts";
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
    .description("Shows one job in full: payload, result, error, failed attempts, history and log.")
    .usage("<id> [options]")
    .argument("<id>", "number of the job");
  withJson(withStorage(command));
  bind<Options>(command, async ([id = ""], options, terminal) => {
    toJobId(id);
    const [job, attempts, history, logs] = await withJobs(options, terminal, (jobs) =>
      Promise.all([jobs.get(id), jobs.attempts(id), jobs.history(id), jobs.logs(id)]),
    );
    if (job === undefined) {
      terminal.error(`Job ${id} is not in the storage: it was pruned, removed, or never enqueued there.`);
      return EXIT.notFound;
    }
    terminal.out(
      options.json
        ? `${jsonText({ ...jobJson(job), attempts: attempts.map(attemptJson), history, logs })}\n`
        : sheetOf(job) +
            attemptTable(attempts, terminal.columns) +
            historyTable(history, terminal.columns) +
            logTable(logs, terminal.columns),
    );
    return EXIT.done;
  });
}

function sheetOf(job: Job): string {
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
    ["unique key", job.uniqueKey],
    ["limit key", job.limitKey],
    ["progress", job.progress === undefined ? undefined : progressText(job.progress)],
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
  return sheet(told) + stackOf(error);
}

function progressText({ done, note }: NonNullable<Job["progress"]>): string {
  return `${Math.floor(100 * done)} %${note === undefined ? "" : `, ${note}`}`;
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

/** What the failures above do not tell. */
function historyTable(history: readonly HistoryItem[], columns: number | undefined): string {
  const rows = history
    .filter(({ kind }) => kind !== "failed")
    .map(({ at, kind, runAt, reason }) => [
      instantText(at),
      kind,
      runAt === undefined ? "" : instantText(runAt),
      reason ?? "",
    ]);
  return rows.length === 0 ? "" : `\n${table(["WHEN", "WHAT", "FOR", "REASON"], rows, columns)}`;
}

function logTable(logs: readonly JobLogLine[], columns: number | undefined): string {
  const rows = logs.map(({ at, attempt, level, text }) => [instantText(at), String(attempt), level, text]);
  return rows.length === 0 ? "" : `\n${table(["LOGGED", "ATTEMPT", "LEVEL", "TEXT"], rows, columns)}`;
}
