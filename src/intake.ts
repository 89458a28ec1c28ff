import { DuplicateIdError, InvalidOptionError, InvalidPayloadError, PayloadTooLargeError } from "./errors.ts";
import type { JobHandle } from "./handle.ts";
import { type EnqueueItem, itemsOf } from "./item.ts";
import type { AnyJobDefinition, InputOf, JobOptions } from "./job/definition.ts";
import { limits } from "./job/limits.ts";
import { type EnqueueOptions, isUnchecked, resolveOptions, validatePayload } from "./job/options.ts";
import { payloadText } from "./job/payload.ts";
import type { GroupResult, NewJob } from "./storage/storage.ts";

/** The payload may be left out where its type allows `undefined`; it is stored as `null` then. */
export type EnqueueArguments<D extends AnyJobDefinition> =
  undefined extends InputOf<D>
    ? [payload?: InputOf<D>, options?: EnqueueOptions]
    : [payload: InputOf<D>, options?: EnqueueOptions];

/** What an intake needs to know of where its jobs go. */
export interface IntakeDeps {
  readonly defaults: JobOptions;
  /** Throws when it is too late to enqueue. Asked for every job. */
  checkOpen(): void;
  /** Stores one group. */
  store(jobs: readonly NewJob[]): Promise<GroupResult>;
  handle(id: string, created: boolean): JobHandle;
}

/** Turns what applications enqueue into jobs to store, and what became of them into handles. */
export class Intake {
  readonly #deps: IntakeDeps;

  constructor(deps: IntakeDeps) {
    this.#deps = deps;
  }

  async enqueue(
    definition: AnyJobDefinition,
    payload: unknown,
    options: EnqueueOptions | undefined,
  ): Promise<JobHandle> {
    // No await for a schema that answers at once: calls of one turn must share a batch.
    const made = this.#newJob(definition, payload, options);
    const job = made instanceof Promise ? await made : made;
    const [handle] = await this.#store([job]);
    return handle as JobHandle;
  }

  async enqueueMany(
    first: AnyJobDefinition | readonly EnqueueItem[],
    payloads: readonly unknown[] | undefined,
    options: Omit<EnqueueOptions, "id"> | undefined,
  ): Promise<JobHandle[]> {
    const items = itemsOf(first, payloads, options);
    if (items.length > limits.enqueueJobs) {
      throw new InvalidOptionError(
        "enqueueMany",
        items.length,
        `Use at most ${limits.enqueueJobs} jobs a call.`,
      );
    }
    // Counted as they are made: a batch far too large must not be serialized whole before it is refused.
    let bytes = 0;
    const counted = (job: NewJob): NewJob => {
      bytes += Buffer.byteLength(job.payload);
      if (bytes > limits.enqueueBytes)
        throw new PayloadTooLargeError("The batch", bytes, limits.enqueueBytes);
      return job;
    };
    const made = items.map((one) => {
      const job = this.#newJob(one?.definition, one?.payload, one?.options);
      return job instanceof Promise ? job : counted(job);
    });
    const jobs: NewJob[] = made.some((job) => job instanceof Promise)
      ? (await Promise.all(made)).map((job, i) => (made[i] instanceof Promise ? counted(job) : job))
      : (made as NewJob[]);
    return jobs.length === 0 ? [] : this.#store(jobs);
  }

  /** The job to store. A promise only where the schema is asynchronous. */
  #newJob(
    definition: AnyJobDefinition,
    payload: unknown,
    options: EnqueueOptions | undefined,
  ): NewJob | Promise<NewJob> {
    this.#deps.checkOpen();
    if (typeof definition?.schema?.["~standard"]?.validate !== "function") {
      throw new InvalidOptionError("definition", definition, "Use what defineJob() returns.");
    }
    // Without a schema anything goes, nothing included; a schema has its own opinion of `undefined`.
    const input = payload === undefined && isUnchecked(definition) ? null : payload;
    const checked = validatePayload(definition, input);
    const finish = (result: Awaited<typeof checked>): NewJob => {
      if (!result.ok) throw new InvalidPayloadError(definition.name, result.issues);
      // The schema's input is stored; its output is for the handler and for option functions.
      const text = payloadText(definition.name, input);
      return { ...resolveOptions(definition, result.payload, options, this.#deps.defaults), payload: text };
    };
    if (!(checked instanceof Promise)) return finish(checked);
    const finished = checked.then(finish);
    // When another job of its batch is refused first, nobody listens to this one any more.
    finished.catch(() => undefined);
    return finished;
  }

  async #store(jobs: readonly NewJob[]): Promise<JobHandle[]> {
    const result = await this.#deps.store(jobs);
    if (!result.ok) {
      const { name, givenId } = jobs[result.index] as NewJob;
      if (result.refusal.existing === 0) {
        throw new InvalidOptionError(
          "id",
          givenId,
          `Two jobs "${name}" of this call have it, with different payloads.`,
        );
      }
      throw new DuplicateIdError(name, givenId ?? "", String(result.refusal.existing));
    }
    return result.jobs.map(({ id, status }) => this.#deps.handle(String(id), status === "created"));
  }
}
