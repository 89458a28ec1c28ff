import {
  connect,
  cron,
  every,
  exponential,
  fixed,
  item,
  type Job,
  type Jobs,
  type JobKey,
  json,
  linear,
  type ScheduleDeclaration,
  silentLogger,
  type Worker,
} from "../../src/index.ts";
import { JobHandle } from "../../src/handle.ts";
import { toMs, type Duration } from "../../src/duration.ts";
import { isFinal } from "../../src/job/job.ts";
import type { Storage } from "../../src/storage/storage.ts";
import { runUntilIdle, type TestClock } from "../../src/testing/index.ts";
import type { RunRecord, Shared } from "./acts.ts";
import * as definitions from "./definitions.ts";

/** Of a job that no storage ever had. */
const NOBODY = "9007199254740990";
/** What has ended answers at once; that it takes longer is a failure of its own. */
const ENDED_WAIT = "1m";

export const WORKERS: readonly string[] = ["main", "mail", "side", "batches"];

/** What the calls of a script can name, on one storage. */
export class Scope implements AsyncDisposable {
  readonly names: Readonly<Record<string, unknown>>;
  readonly #jobs: Jobs;
  readonly #start: number;
  readonly #made = new Map<number, readonly string[]>();
  #runs: RunRecord[] = [];

  private constructor(jobs: Jobs, clock: TestClock) {
    this.#jobs = jobs;
    this.#start = clock.now();
    const workers = Object.fromEntries(WORKERS.map((name) => [name, this.#worker(name)]));
    this.names = {
      ...{ jobs, clock, workers, runUntilIdle, item, every, cron, exponential, fixed, linear, json },
      ...definitions,
      /** The id of the job that a step made. */
      id: (step: number, index = 0) => this.#made.get(step)?.[index] ?? NOBODY,
      /** An instant from the script's beginning. */
      at: (after: string) => this.#instant(after),
      /** Stop a worker, and make another one in its place. */
      renew: async (name: string, schedules?: readonly ScheduleDeclaration[]) => {
        await workers[name]?.stop();
        workers[name] = this.#worker(name, schedules);
      },
      ...{ pages: allPages, keys: allKeys },
      processes: () => this.#processes(),
      resultOf: (id: string) => this.#resultOf(id),
      endsOf: (ids: readonly string[]) => this.#endsOf(ids),
      everyJob: () => this.#everyJob(),
    };
  }

  static async open(storage: Storage, clock: TestClock): Promise<Scope> {
    const jobs = await connect(storage, {
      ...{ logger: silentLogger, telemetry: false },
      random: () => 0.5,
      // A machine with much else to do must not make processes of a script look lost.
      ...{ beatEvery: "1m", lostAfter: "10m" },
    });
    return new Scope(jobs, clock);
  }

  /** What handlers wrote since the last call. */
  takeRuns(): RunRecord[] {
    const runs = this.#runs;
    this.#runs = [];
    return runs;
  }

  /** Remember the jobs of a step's answer, for `id`. */
  remember(step: number, answer: unknown): void {
    const ids = (Array.isArray(answer) ? answer : [answer]).map((one: unknown) => {
      const made =
        (one as PromiseSettledResult<unknown> | undefined)?.status === "fulfilled"
          ? (one as { value: unknown }).value
          : one;
      return made instanceof JobHandle ? made.id : NOBODY;
    });
    this.#made.set(step, ids);
  }

  /**
   * One job (or batch) at a time and nothing read ahead: what runs first decides what is made first, and which id it
   * gets. One queue each, and batches by themselves: several of them take turns, and whose turn it is depends on how
   * often the storage was asked.
   */
  #worker(name: string, schedules?: readonly ScheduleDeclaration[]): Worker {
    const { plain, mail, unique, limited, serial, strict, short, again, batched } = definitions;
    const state = (): Shared => ({ runs: this.#runs, plain, unique });
    const options = { state, name, maxConcurrency: 1, ...(schedules === undefined ? {} : { schedules }) };
    const all = [plain, mail, unique, limited, serial, strict, short, again] as const;
    switch (name) {
      case "mail":
        return this.#jobs.worker([...all], { ...options, queues: ["mail"] });
      case "side":
        return this.#jobs.worker([plain, limited, mail, unique], { ...options, queues: ["side"] });
      case "batches":
        return this.#jobs.worker([batched], { ...options, queues: ["default"] });
      default:
        return this.#jobs.worker([...all], { ...options, queues: ["default"] });
    }
  }

  #instant(after: string): Date {
    const sign = after.startsWith("-") ? -1 : 1;
    return new Date(this.#start + sign * toMs(after.replace("-", "") as Duration, "at"));
  }

  async #resultOf(id: string): Promise<unknown> {
    const timeout = (await this.#hasEnded(id)) ? ENDED_WAIT : 1;
    return this.#jobs.handle(id).result({ timeout });
  }

  /** Of several that have not ended, who is named as too late depends on the machine: then only one is waited for. */
  async #endsOf(ids: readonly string[]): Promise<unknown> {
    const ended = await Promise.all(ids.map((id) => this.#hasEnded(id)));
    const late = ids[ended.indexOf(false)];
    if (late !== undefined) return this.#jobs.waitAll([this.#jobs.handle(late)], { timeout: 1 });
    return this.#jobs.waitAll(
      ids.map((id) => this.#jobs.handle(id)),
      { timeout: ENDED_WAIT },
    );
  }

  async #hasEnded(id: string): Promise<boolean> {
    const job = await this.#jobs.get(id);
    return job === undefined || isFinal(job.state);
  }

  /** Without what differs from machine to machine. In an order of its own: the contract has none. */
  async #processes(): Promise<unknown> {
    const found = await this.#jobs.processes();
    return found
      .map(({ name, lost, running, queues }) => ({ name, lost, running, queues }))
      .sort((a, b) => (`${a.name}` < `${b.name}` ? -1 : 1));
  }

  /** All that is kept of each job. */
  async #everyJob(): Promise<unknown> {
    const ids = [...this.#made.values()].flat().filter((id) => id !== NOBODY);
    const looks = [...new Set(ids)].map(async (id) => ({
      id,
      history: await this.#jobs.history(id),
      logs: await this.#jobs.logs(id),
    }));
    return Promise.all(looks);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#jobs.close();
  }
}

/** Page after page to the end: where a page ends is the storage's business, as long as something follows. */
async function allPages(
  page: (after: string | undefined) => Promise<{ jobs: Job[]; next?: string }>,
): Promise<Job[]> {
  const all: Job[] = [];
  for (let after: string | undefined; ;) {
    const { jobs, next } = await page(after);
    all.push(...jobs);
    if (next === undefined) return batchesInOrder(all);
    after = next;
  }
}

/**
 * Jobs of one batch end in one step and one instant, so the contract does not say which of them is listed first;
 * here it is the oldest. All others end one after the other, and are listed so.
 */
function batchesInOrder(jobs: readonly Job[]): Job[] {
  const isTie = (a: Job, b: Job | undefined): boolean =>
    b !== undefined &&
    a.name === "batched" &&
    b.name === a.name &&
    isFinal(a.state) &&
    a.endedAt?.getTime() === b.endedAt?.getTime();
  const runs: Job[][] = [];
  for (const job of jobs) {
    const run = runs.at(-1);
    if (run !== undefined && isTie(job, run[0])) run.push(job);
    else runs.push([job]);
  }
  return runs.flatMap((run) => run.sort((a, b) => Number(a.id) - Number(b.id)));
}

/** As {@link allPages}; keys come in an order of the storage's own, so they are put in ours. */
async function allKeys(
  page: (after: string | undefined) => Promise<{ keys: JobKey[]; next?: string }>,
): Promise<JobKey[]> {
  const all: JobKey[] = [];
  for (let after: string | undefined; ;) {
    const { keys, next } = await page(after);
    all.push(...keys);
    if (next === undefined) return all.sort((a, b) => (a.key < b.key ? -1 : 1));
    after = next;
  }
}
