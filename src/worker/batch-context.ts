import type { Clock } from "../clock.ts";
import { InvalidOptionError, ShutdownError, StateError, TimeoutError } from "../errors.ts";
import type { BatchContext, BatchItem, CompletedIn } from "../job/batch-definition.ts";
import type { Jobs } from "../jobs.ts";
import type { Logger } from "../logger.ts";
import { transactional, type TransactionalStorage } from "../storage/transactional.ts";
import { completeTogether } from "./batch-completion.ts";
import { BatchRunItem } from "./batch-item.ts";
import type { RunServices } from "./run-context.ts";

/** The handler's view of a batch, besides its jobs. */
export class BatchRunContext implements BatchContext {
  readonly name: string;
  readonly #items: readonly BatchRunItem[];
  readonly #services: RunServices;
  /** Transactions in which a savepoint stands. */
  readonly #nesting = new WeakSet<object>();
  #controller: AbortController | undefined;

  constructor(items: readonly BatchRunItem[], name: string, services: RunServices) {
    this.name = name;
    this.#items = items;
    this.#services = services;
  }

  get queue(): string {
    return (this.#items[0] as BatchRunItem).run.job.queue;
  }
  get state(): unknown {
    return this.#services.state.value;
  }
  get clock(): Clock {
    return this.#services.clock;
  }
  get jobs(): Jobs {
    return this.#services.jobs;
  }

  get log(): Logger {
    const { logger } = this.#services;
    const about = { name: this.name, jobs: this.#items.map(({ job }) => job.id) };
    return {
      debug: (message, details) => logger.debug(message, { ...about, ...details }),
      info: (message, details) => logger.info(message, { ...about, ...details }),
      warn: (message, details) => logger.warn(message, { ...about, ...details }),
      error: (message, details) => logger.error(message, { ...about, ...details }),
    };
  }

  /** Made when first asked for, from the signals of the jobs. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      const controller = new AbortController();
      this.#controller = controller;
      const judge = (): void => {
        const reason = this.#abortReason();
        if (reason !== undefined) controller.abort(reason);
      };
      for (const { signal } of this.#items) signal.addEventListener("abort", judge);
      judge();
    }
    return this.#controller.signal;
  }

  /** What ends all of it, or what has ended each of its jobs. */
  #abortReason(): Error | undefined {
    const reasons = this.#items.map(({ run }) => run.timedOut ?? run.abortReason);
    const ofAll = reasons.find((one) => one instanceof TimeoutError || one instanceof ShutdownError);
    return ofAll ?? (reasons.includes(undefined) ? undefined : reasons[0]);
  }

  async completeIn<Item extends BatchItem>(
    tx: object,
    items: readonly Item[] = this.#undecided() as readonly BatchItem[] as readonly Item[],
  ): Promise<CompletedIn<Item>> {
    const storage = this.#storage("ctx.completeIn(tx)");
    const own = items.map((item) => this.#own(item));
    const completed = await completeTogether(storage, tx, own);
    const isCompleted = (_item: Item, index: number): boolean => completed.has(own[index] as BatchRunItem);
    return {
      completed: items.filter(isCompleted),
      stale: items.filter((item, index) => !isCompleted(item, index)),
    };
  }

  async isolate<Tx extends object>(
    tx: Tx,
    item: BatchItem,
    work: (tx: Tx) => Promise<unknown>,
  ): Promise<boolean> {
    return (await this.bisect(tx, [item], (inner) => work(inner))).length > 0;
  }

  async bisect<Tx extends object, Item extends BatchItem>(
    tx: Tx,
    items: readonly Item[],
    work: (tx: Tx, items: readonly Item[]) => Promise<unknown>,
  ): Promise<Item[]> {
    const storage = this.#storage("ctx.isolate(tx) and ctx.bisect(tx)");
    for (const item of items) this.#own(item);
    if (this.#nesting.has(tx)) {
      throw new StateError(
        "A savepoint of this transaction is open already: await each ctx.isolate() and ctx.bisect() before the next.",
      );
    }
    this.#nesting.add(tx);
    try {
      return await this.#halved(storage, tx, items, work);
    } finally {
      this.#nesting.delete(tx);
    }
  }

  async #halved<Tx extends object, Item extends BatchItem>(
    storage: TransactionalStorage,
    tx: Tx,
    items: readonly Item[],
    work: (tx: Tx, items: readonly Item[]) => Promise<unknown>,
  ): Promise<Item[]> {
    const done: Item[] = [];
    const left: (readonly Item[])[] = [items];
    for (let some = left.pop(); some !== undefined; some = left.pop()) {
      if (some.length === 0) continue;
      const failure = await this.#together(storage, tx, some, work);
      if (failure === undefined) {
        done.push(...some);
      } else if (failure instanceof Stale) {
        // Somebody else does their work: the others begin anew without them.
        const { items: stale } = failure;
        left.push(some.filter((item) => !stale.includes(item)));
      } else if (some.length === 1) {
        (some[0] as Item).fail(failure.error);
      } else {
        const middle = Math.ceil(some.length / 2);
        left.push(some.slice(middle), some.slice(0, middle));
      }
    }
    return done;
  }

  /** Work and completions in one savepoint. Answers why it was rolled back, if it was. */
  async #together<Tx extends object, Item extends BatchItem>(
    storage: TransactionalStorage,
    tx: Tx,
    items: readonly Item[],
    work: (tx: Tx, items: readonly Item[]) => Promise<unknown>,
  ): Promise<Stale | { readonly error: unknown } | undefined> {
    const own = items.map((item) => this.#own(item));
    const before = own.map(({ run }) => run.completedIn);
    const nested = await storage.nestIn(tx, async (inner) => {
      await work(inner as Tx, items);
      const completed = await completeTogether(storage, inner as object, own);
      const stale = own.filter((item) => !completed.has(item));
      if (stale.length > 0) throw new Stale(stale);
    });
    if (nested.ok) {
      for (const item of own) item.complete(item.result);
      return undefined;
    }
    // What was written since the savepoint is certainly gone, completions included.
    for (const [index, { run }] of own.entries()) run.completedIn = before[index] as boolean;
    return nested.error instanceof Stale ? nested.error : { error: nested.error };
  }

  /** Jobs of which nothing was said, or that they are done. */
  #undecided(): readonly BatchRunItem[] {
    return this.#items.filter(({ run }) => run.said === undefined || run.said.kind === "returned");
  }

  #own(item: BatchItem): BatchRunItem {
    if (item instanceof BatchRunItem && this.#items.includes(item)) return item;
    throw new InvalidOptionError("items", item, "Use the items that this handler was called with.");
  }

  #storage(call: string): TransactionalStorage {
    return transactional(this.#services.storage, call);
  }
}

/** Jobs that this process no longer holds. */
class Stale extends Error {
  readonly items: readonly BatchItem[];
  constructor(items: readonly BatchItem[]) {
    super("Some jobs of the batch are no longer held by this process.");
    this.items = items;
  }
}
