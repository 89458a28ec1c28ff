import { StateError } from "../errors.ts";
import type { Outcome } from "../job/lifecycle.ts";
import type { GroupResult, NewJob, Settlement, SettleResult, Storage } from "./storage.ts";

/**
 * A storage in the application's own database: it can take part in a transaction of the application. Errors of
 * the database pass as the application's driver throws them, because it is the one to decide what follows.
 */
export interface TransactionalStorage extends Storage {
  /**
   * `enqueue` of one group inside of `tx`: stored exactly when that commits, and told to waiting workers then.
   * A group that is refused leaves nothing behind and does no harm to the transaction.
   *
   * @throws InvalidOptionError when `tx` is no transaction
   */
  enqueueIn(tx: unknown, group: readonly NewJob[]): Promise<GroupResult>;

  /**
   * `settle` of one run that returned, inside of `tx`: the job is completed exactly when that commits, and until
   * it is decided nobody else can end the run or take it over. Unlike `settle`, it answers `stale` when this
   * lease has ended its run already: whoever completes twice, because the answer to the first commit was lost,
   * must take the second back.
   *
   * @throws InvalidOptionError when `tx` is no transaction
   */
  settleIn(tx: unknown, completion: Completion): Promise<SettleResult>;

  /**
   * The same for many runs at once, in input order. None of them may have been completed by its lease before, in a
   * transaction or otherwise: such a one is not told from those that are completed now.
   */
  settleAllIn(tx: unknown, completions: readonly Completion[]): Promise<SettleResult[]>;

  /**
   * Do some work in a savepoint of `tx`, and go back to it when that throws. Rejects, with what was thrown, when that
   * is about the transaction as a whole: a conflict with another one, a savepoint that cannot be gone back to.
   *
   * @param work gets the transaction to write through: some drivers make another one for a savepoint
   * @throws InvalidOptionError when `tx` is no transaction
   */
  nestIn(tx: unknown, work: (inner: unknown) => Promise<void>): Promise<Nested>;
}

/** How work in a savepoint went. */
export type Nested = { readonly ok: true } | { readonly ok: false; readonly error: unknown };

/** A settlement of a run that returned. */
export type Completion = Settlement & { readonly outcome: Outcome & { readonly state: "completed" } };

/**
 * The storage as one that joins transactions.
 *
 * @param call what asks for it, for the message
 * @throws StateError when it cannot
 */
export function transactional(storage: Storage, call: string): TransactionalStorage {
  const able = storage as Partial<TransactionalStorage> & Storage;
  if (typeof able.settleIn === "function") {
    return able as TransactionalStorage;
  }
  throw new StateError(
    `${call} needs jobs that are stored in PostgreSQL, in the database of the transaction; these are in ` +
      `${storage.label}. Connect to "postgres://…", or enqueue after the commit with an id of your own.`,
  );
}
