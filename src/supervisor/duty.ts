import { connect } from "../connect.ts";
import type { Jobs } from "../jobs.ts";
import { StateError } from "../errors.ts";
import type { Storage } from "../storage/storage.ts";
import type { Worker } from "../worker/worker.ts";
import { loadWorkerModules } from "./load-modules.ts";
import { type Assignment, tellError, type ToParent } from "./message.ts";

export interface DutyDeps {
  tell(message: ToParent): void;
  /** Tell this, and end at once with an exit code that says it went wrong. */
  fail(last: ToParent): void;
}

/** What a child does from its start to its end, process or thread: load the modules, connect, work, and stop. */
export class Duty {
  readonly #deps: DutyDeps;
  #began: Promise<void> | undefined;
  #jobs: Jobs | undefined;
  #worker: Worker | undefined;
  #alive: NodeJS.Timeout | undefined;
  #stopping: Promise<void> | undefined;
  #hasFailed = false;

  constructor(deps: DutyDeps) {
    this.#deps = deps;
  }

  begin(assignment: Assignment, target: string | Storage): void {
    this.#began = this.#begin(assignment, target);
    this.#began.catch((error: unknown) => this.fail(error));
  }

  async #begin(assignment: Assignment, target: string | Storage): Promise<void> {
    const { tell } = this.#deps;
    // From the first: a module may block while it is loaded.
    this.#alive = setInterval(() => tell({ jobwright: "alive" }), assignment.aliveEveryMs);
    this.#alive.unref();
    const { definitions, options } = await loadWorkerModules(assignment.modules);
    if (this.#isStopping) return;
    const jobs = await connect(target, assignment.connect);
    this.#jobs = jobs;
    if (this.#isStopping) return;
    const worker = jobs.worker(definitions, { ...options, ...assignment.worker });
    this.#worker = worker;
    worker.on("registered", ({ processId }) => tell({ jobwright: "registered", processId }));
    worker.on("stopped", () => {
      if (this.#isStopping) return;
      this.fail(new StateError("The worker was stopped by its own modules. Leave that to the Supervisor."));
    });
    await worker.start();
    if (!this.#isStopping) tell({ jobwright: "ready" });
  }

  get #isStopping(): boolean {
    return this.#stopping !== undefined;
  }

  /** As {@link Worker.stop}, and close the connection. Twice is fine. */
  stop(timeoutMs: number): Promise<void> {
    if (this.#stopping === undefined) this.#stopping = this.#stop(timeoutMs);
    else void this.#worker?.stop({ timeout: timeoutMs });
    return this.#stopping;
  }

  async #stop(timeoutMs: number): Promise<void> {
    // A worker in the middle of its start hears of it at once; modules that are being loaded are waited for.
    if (this.#worker === undefined) await this.#began?.catch(() => undefined);
    await this.#worker?.stop({ timeout: timeoutMs });
    await this.#jobs?.close();
    clearInterval(this.#alive);
  }

  /** Something went wrong that belongs to no job: this child ends, as if it had crashed, and says why. */
  fail(error: unknown): void {
    if (this.#hasFailed) return;
    this.#hasFailed = true;
    this.#deps.fail({ jobwright: "failed", error: tellError(error) });
  }
}
