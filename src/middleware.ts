import { StateError } from "./errors.ts";
import type { EnqueueItem } from "./item.ts";
import type { EnqueueOptions } from "./job/options.ts";
import type { EnqueuedJob, JobContext } from "./worker/context.ts";

/**
 * What stands around enqueues and runs. `connect`'s middleware stands outside, then the definition's, each in the
 * order of its list. Without any of it nothing is paid.
 *
 * @example
 * const timed: Middleware = {
 *   async run(ctx, next) {
 *     const from = performance.now();
 *     try {
 *       return await next();
 *     } finally {
 *       ctx.log.info(`took ${performance.now() - from} ms`);
 *     }
 *   },
 * };
 */
export interface Middleware<Input = unknown> {
  /**
   * Around the enqueue of one job. It may hand another payload or other options on; they are checked afterwards. What
   * it throws refuses the call, all jobs of an `enqueueMany` included.
   *
   * @param next hand on, exactly once: what it is given replaces what the item says
   */
  enqueue?(
    item: EnqueueItem & { readonly payload: Input },
    next: (change?: EnqueueChange) => Promise<EnqueuedJob>,
  ): Promise<EnqueuedJob>;
  /**
   * Around a run, when its payload was found good. What it answers is the run's result, a directive like `snooze()`
   * included; what it throws fails the attempt, as if the handler had.
   *
   * @param next go on to the handler, at most once; answers what that returned, throws what it threw
   */
  run?(ctx: JobContext, next: () => Promise<unknown>): unknown;
}

/** What a middleware hands on in place of what the item said. */
export interface EnqueueChange {
  readonly payload?: unknown;
  readonly options?: EnqueueOptions;
}

/** Whether any of it stands around enqueues. */
export function isAroundEnqueues(middleware: readonly Middleware[] | undefined): boolean {
  return middleware !== undefined && middleware.some((one) => one.enqueue !== undefined);
}

/** Whether any of it stands around runs. */
export function isAroundRuns(middleware: readonly Middleware[] | undefined): boolean {
  return middleware !== undefined && middleware.some((one) => one.run !== undefined);
}

/** One item through all of them, the first one outermost. */
export async function enqueueThrough(
  middleware: readonly Middleware[],
  item: EnqueueItem,
  store: (item: EnqueueItem) => Promise<EnqueuedJob>,
): Promise<EnqueuedJob> {
  const around = middleware.filter((one) => one.enqueue !== undefined);
  const step = async (index: number, current: EnqueueItem): Promise<EnqueuedJob> => {
    const hook = around[index];
    if (hook?.enqueue === undefined) return store(current);
    let calls = 0;
    const enqueued = await hook.enqueue(current, async (change) => {
      calls += 1;
      if (calls > 1) throw wrongNext("enqueue", current.definition.name, "twice");
      return step(index + 1, changed(current, change));
    });
    if (calls === 0) throw wrongNext("enqueue", current.definition.name, "not");
    return enqueued;
  };
  return step(0, item);
}

function changed(item: EnqueueItem, change: EnqueueChange | undefined): EnqueueItem {
  if (change === undefined) return item;
  const { definition } = item;
  const payload = "payload" in change ? change.payload : item.payload;
  const options = "options" in change ? change.options : item.options;
  return { definition, payload, ...(options === undefined ? {} : { options }) };
}

/** A run through all of them, the first one outermost. */
export async function runThrough(
  middleware: readonly Middleware[],
  ctx: JobContext,
  handler: () => unknown,
): Promise<unknown> {
  const around = middleware.filter((one) => one.run !== undefined);
  const step = async (index: number): Promise<unknown> => {
    const hook = around[index];
    if (hook?.run === undefined) return handler();
    let calls = 0;
    let inner: Promise<unknown> | undefined;
    const through = (): void => void (inner = undefined);
    // No async function: a promise of its own would be rejected unheard when the hook does not take it.
    const answer = await hook.run(ctx, () => {
      calls += 1;
      if (calls > 1) return Promise.reject(wrongNext("run", ctx.job.name, "twice"));
      const started = step(index + 1);
      inner = started;
      started.then(through, through);
      return started;
    });
    // A hook that has not waited for it: the run goes on until its handler is through, and that one's failure counts.
    await inner;
    return answer;
  };
  return step(0);
}

function wrongNext(what: string, job: string, how: "twice" | "not"): StateError {
  return new StateError(
    `A middleware around the ${what} of ${JSON.stringify(job)} called next() ${how === "twice" ? "twice" : "not at all"}. ` +
      `Call it ${what === "run" ? "at most" : "exactly"} once.`,
  );
}
