import type { GroupResult } from "../../src/storage/storage.ts";
import type { Storage } from "../../src/storage/storage.ts";
import type { TransactionalStorage } from "../../src/storage/transactional.ts";
import type { StorageKind } from "./storages.ts";

/** A transaction as far as a storage takes part in it: what is to be done when it commits. */
export class PretendedTransaction {
  readonly #work: (() => Promise<unknown>)[] = [];

  add(work: () => Promise<unknown>): void {
    this.#work.push(work);
  }

  async commit(): Promise<void> {
    for (const work of this.#work.splice(0)) await work();
  }

  rollback(): void {
    this.#work.length = 0;
  }

  /** Where it stands, for {@link rollbackTo}. */
  savepoint(): number {
    return this.#work.length;
  }

  rollbackTo(savepoint: number): void {
    this.#work.length = savepoint;
  }
}

/** A kind of storage whose storages join pretended transactions: what PostgreSQL does, without its locks. */
export function joining(kind: StorageKind): StorageKind {
  return { ...kind, create: async (options) => join(await kind.create(options)) };
}

function join(real: Storage): TransactionalStorage {
  const enqueueIn: TransactionalStorage["enqueueIn"] = async (tx, group) => {
    (tx as PretendedTransaction).add(() => real.enqueue([group]));
    return { ok: true, jobs: group.map(() => ({ status: "created", id: 1 })) } satisfies GroupResult;
  };
  const settleIn: TransactionalStorage["settleIn"] = async (tx, completion) => {
    if ((await real.note(completion.lease, {})) === "stale") return "stale";
    (tx as PretendedTransaction).add(() => real.settle([completion]));
    return "settled";
  };
  const settleAllIn: TransactionalStorage["settleAllIn"] = (tx, completions) =>
    Promise.all(completions.map((one) => settleIn(tx, one)));
  const nestIn: TransactionalStorage["nestIn"] = async (tx, work) => {
    const savepoint = (tx as PretendedTransaction).savepoint();
    try {
      await work(tx);
      return { ok: true };
    } catch (error) {
      (tx as PretendedTransaction).rollbackTo(savepoint);
      return { ok: false, error };
    }
  };
  return new Proxy(real, {
    get: (target, key) => {
      if (key === "nestIn") return nestIn;
      if (key === "settleAllIn") return settleAllIn;
      if (key === "enqueueIn") return enqueueIn;
      if (key === "settleIn") return settleIn;
      const value = Reflect.get(target, key, target) as unknown;
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  }) as TransactionalStorage;
}
