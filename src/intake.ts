import { channels } from "./diagnostics.ts";
import {
  DuplicateIdError,
  InvalidOptionError,
  InvalidPayloadError,
  KeyHeldError,
  PayloadTooLargeError,
  StateError,
} from "./errors.ts";
import type { JobHandle } from "./handle.ts";
import { type EnqueueItem, itemsOf } from "./item.ts";
import type { AnyJobDefinition, InputOf, JobOptions } from "./job/definition.ts";
import { limits } from "./job/limits.ts";
import { type EnqueueOptions, resolveOptions } from "./job/options.ts";
import { payloadText } from "./job/payload.ts";
import { isUnchecked, validatePayload } from "./job/validation.ts";
import { enqueueThrough, isAroundEnqueues } from "./middleware.ts";
import type { Surroundings } from "./observer.ts";
import type { EnqueueResult, GroupResult, NewJob } from "./storage/storage.ts";

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
  /** What stands around enqueues. */
  readonly around: Surroundings;
  handle(id: string, status: EnqueueResult["status"]): JobHandle;
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
    if (this.#isSurrounded([definition])) {
      const item = { definition, payload, ...(options === undefined ? {} : { options }) };
      const [surrounded] = await this.#observed([item]);
      return surrounded as JobHandle;
    }
    // No await for a schema that answers at once: calls of one turn must share a batch.
    const made = this.#newJob(definition, payload, options);
    const job = made instanceof Promise ? await made : made;
    const [handle] = await this.#store([job]);
    return handle as JobHandle;
  }

  /** A job as it would be stored, checked and with all options resolved. */
  async prepare(definition: AnyJobDefinition, payload: unknown, options: EnqueueOptions): Promise<NewJob> {
    return this.#newJob(definition, payload, options);
  }

  /** As {@link enqueue}, in one go. @throws StateError for a schema that answers later */
  enqueueSync(
    definition: AnyJobDefinition,
    payload: unknown,
    options: EnqueueOptions | undefined,
    store: (jobs: readonly NewJob[]) => GroupResult,
  ): JobHandle {
    if (isAroundEnqueues(this.#deps.around.middleware) || isAroundEnqueues(definition?.middleware)) {
      throw new StateError(
        `Middleware around the enqueue of "${definition.name}" answers later: use enqueue().`,
      );
    }
    const job = this.#newJob(definition, payload, options);
    if (job instanceof Promise) {
      throw new StateError(`The schema of "${definition.name}" answers later: use enqueue().`);
    }
    const [handle] = this.#handles([job], store([job]));
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
    if (this.#isSurrounded(items.map((one) => one?.definition))) return this.#observed(items);
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

  #isSurrounded(definitions: readonly AnyJobDefinition[]): boolean {
    const { middleware, observers } = this.#deps.around;
    if (observers.length > 0 || middleware.length > 0) return true;
    return definitions.some((one) => one?.middleware !== undefined);
  }

  /** One call, as observers see it. */
  #observed(items: readonly EnqueueItem[]): Promise<JobHandle[]> {
    for (const item of items) checkDefined(item?.definition);
    const names = [...new Set(items.map(({ definition }) => definition.name))];
    let call = (trace: string | undefined): Promise<JobHandle[]> => this.#throughMiddleware(items, trace);
    for (const observer of this.#deps.around.observers.toReversed()) {
      const inside = call;
      call = (trace) => observer.enqueued({ names, count: items.length }, (made) => inside(made ?? trace));
    }
    return items.length === 0 ? Promise.resolve([]) : call(undefined);
  }

  /** Each goes its own way through the middleware; they meet before the storage, which takes all or nothing. */
  async #throughMiddleware(items: readonly EnqueueItem[], trace: string | undefined): Promise<JobHandle[]> {
    const jobs: NewJob[] = [];
    let arrived = 0;
    let bytes = 0;
    let open: (stored: Promise<JobHandle[]>) => void = () => undefined;
    let refuse: (error: unknown) => void = () => undefined;
    const stored = new Promise<JobHandle[]>((resolve, reject) => ([open, refuse] = [resolve, reject]));
    const store = async (item: EnqueueItem, index: number): Promise<JobHandle> => {
      const job = await this.#newJob(item.definition, item.payload, item.options);
      bytes += Buffer.byteLength(job.payload);
      if (bytes > limits.enqueueBytes && items.length > 1) {
        throw new PayloadTooLargeError("The batch", bytes, limits.enqueueBytes);
      }
      jobs[index] = trace === undefined || job.trace !== undefined ? job : { ...job, trace };
      arrived += 1;
      if (arrived === items.length) open(this.#store(jobs));
      return (await stored)[index] as JobHandle;
    };
    const ways = items.map(async (item, index) => {
      const middleware = [...this.#deps.around.middleware, ...(item.definition.middleware ?? [])];
      let refusal: unknown;
      await enqueueThrough(middleware, item, (changed) =>
        store(changed, index).catch((error: unknown) => {
          refusal = error;
          throw error;
        }),
      );
      // A middleware that caught it cannot make a job of a refusal.
      if (refusal !== undefined) throw refusal;
      if (jobs[index] === undefined) throw new StateError(SWALLOWED);
    });
    // Whoever is refused on the way refuses all: the others are not kept waiting.
    const refused = Promise.all(ways).then(() => stored);
    stored.catch(() => undefined);
    refused.catch(refuse);
    return refused;
  }

  /** The job to store. A promise only where the schema is asynchronous. */
  #newJob(
    definition: AnyJobDefinition,
    payload: unknown,
    options: EnqueueOptions | undefined,
  ): NewJob | Promise<NewJob> {
    this.#deps.checkOpen();
    checkDefined(definition);
    // Without a schema anything goes, nothing included; a schema has its own opinion of `undefined`.
    const input = payload === undefined && isUnchecked(definition) ? null : payload;
    const checked = validatePayload(definition, input);
    const finish = (result: Awaited<typeof checked>): NewJob => {
      if (!result.ok) throw new InvalidPayloadError(definition.name, result.issues);
      // The schema's input is stored; its output is for the handler and for option functions.
      const text = payloadText(definition.name, input);
      const resolved = resolveOptions(definition, result.payload, options, this.#deps.defaults, text);
      return { ...resolved, payload: text };
    };
    if (!(checked instanceof Promise)) return finish(checked);
    const finished = checked.then(finish);
    // When another job of its batch is refused first, nobody listens to this one any more.
    finished.catch(() => undefined);
    return finished;
  }

  async #store(jobs: readonly NewJob[]): Promise<JobHandle[]> {
    return this.#handles(jobs, await this.#deps.store(jobs));
  }

  #handles(jobs: readonly NewJob[], result: GroupResult): JobHandle[] {
    if (!result.ok) {
      const { name, givenId, unique } = jobs[result.index] as NewJob;
      const { kind, existing } = result.refusal;
      if (kind === "key-held") {
        throw new KeyHeldError(name, unique?.key ?? "", existing === 0 ? undefined : String(existing));
      }
      if (existing === 0) {
        throw new InvalidOptionError(
          "id",
          givenId,
          `Two jobs "${name}" of this call have it, with different payloads.`,
        );
      }
      throw new DuplicateIdError(name, givenId ?? "", String(existing));
    }
    if (channels.enqueue.hasSubscribers) tell(jobs, result.jobs);
    return result.jobs.map(({ id, status }) => this.#deps.handle(String(id), status));
  }
}

const SWALLOWED =
  "A middleware caught the error of another one and answered for a job that is not stored. Let it throw.";

/** For those who listen from outside: never a payload. */
function tell(jobs: readonly NewJob[], results: readonly EnqueueResult[]): void {
  channels.enqueue.publish({
    jobs: results.map(({ id, status }, i) => {
      const { name, queue } = jobs[i] as NewJob;
      return { id: String(id), name, queue, status };
    }),
  });
}

function checkDefined(definition: AnyJobDefinition): void {
  if (typeof definition?.schema?.["~standard"]?.validate === "function") return;
  throw new InvalidOptionError("definition", definition, "Use what defineJob() returns.");
}
