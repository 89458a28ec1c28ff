import type { JobHandle } from "./handle.ts";
import type { EnqueueArguments, Intake } from "./intake.ts";
import type { EnqueueItem } from "./item.ts";
import type { AnyJobDefinition, InputOf, ResultOf } from "./job/definition.ts";
import type { EnqueueOptions } from "./job/options.ts";

/**
 * `Jobs` inside a transaction of the application, made by `jobs.in(tx)`. What it stores is there for others from
 * the moment the transaction commits, workers are woken then, and after a rollback it never was. Nothing is
 * repeated by itself, and what the database says (a conflict to be tried again, a lost connection) is thrown as
 * the driver of the transaction throws it: what happens to the transaction is up to its owner.
 */
export class TransactionJobs {
  readonly #intake: Intake;

  /** @internal */
  constructor(intake: Intake) {
    this.#intake = intake;
  }

  /**
   * Store a job with the transaction. Resolves to its handle, whose id is known at once; wait for its end only
   * after the commit.
   *
   * @throws InvalidPayloadError, PayloadTooLargeError or InvalidOptionError, with nothing done
   * @throws DuplicateIdError when `options.id` belongs to a job with another payload; the transaction is not harmed
   * @throws KeyHeldError when another job holds the unique key and `onConflict` is "error"; it is not harmed either
   */
  enqueue<D extends AnyJobDefinition>(
    definition: D,
    ...[payload, options]: EnqueueArguments<D>
  ): Promise<JobHandle<ResultOf<D>>> {
    return this.#intake.enqueue(definition, payload, options) as Promise<JobHandle<ResultOf<D>>>;
  }

  /**
   * Store many jobs with the transaction, in order. At most 5,000 jobs and 16 MiB of payloads a call.
   *
   * @throws as {@link enqueue}, with nothing of this call stored
   */
  enqueueMany<D extends AnyJobDefinition>(
    definition: D,
    payloads: readonly InputOf<D>[],
    options?: Omit<EnqueueOptions, "id">,
  ): Promise<JobHandle<ResultOf<D>>[]>;
  enqueueMany(items: readonly EnqueueItem[]): Promise<JobHandle[]>;
  enqueueMany(
    first: AnyJobDefinition | readonly EnqueueItem[],
    payloads?: readonly unknown[],
    options?: Omit<EnqueueOptions, "id">,
  ): Promise<JobHandle[]> {
    return this.#intake.enqueueMany(first, payloads, options);
  }
}
