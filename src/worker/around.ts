import type { AnyJobDefinition } from "../job/definition.ts";
import { serializeError } from "../job/error.ts";
import { isAroundRuns, runThrough } from "../middleware.ts";
import type { ObservedRun, Surroundings } from "../observer.ts";
import { runScope } from "../run-scope.ts";
import type { JobContext, SetupJob } from "./context.ts";
import type { Run } from "./run.ts";
import type { RunContext } from "./run-context.ts";

/** Whether anything stands around the runs of this definition: most programs have nothing, and pay nothing. */
export function isSurrounded(definition: AnyJobDefinition, around: Surroundings): boolean {
  return (
    definition.setup !== undefined ||
    definition.middleware !== undefined ||
    around.middleware.length > 0 ||
    around.observers.length > 0 ||
    runScope.enter !== undefined
  );
}

/** A whole run, as observers and `currentJob()` see it. */
export function observed(
  run: Run,
  definition: AnyJobDefinition,
  around: Surroundings,
  inner: () => unknown,
): unknown {
  let whole = inner;
  for (const observer of around.observers.toReversed()) {
    const inside = whole;
    whole = () => observer.ran(observedRun(run, definition), inside);
  }
  return runScope.enter === undefined ? whole() : runScope.enter(() => run.event, whole);
}

/** The handler with its middleware around it. */
export function throughMiddleware(
  definition: AnyJobDefinition,
  ctx: RunContext,
  around: Surroundings,
  handler: () => unknown,
): unknown {
  const { middleware = [] } = definition;
  if (!isAroundRuns(around.middleware) && !isAroundRuns(middleware)) return handler();
  return runThrough([...around.middleware, ...middleware], ctx, handler);
}

/** The handler, prepared by the definition's `setup`. */
export async function withSetup(
  definition: AnyJobDefinition,
  ctx: RunContext,
  payload: unknown,
  handler: () => unknown,
): Promise<unknown> {
  const setup = definition.setup as (job: SetupJob, ctx: JobContext) => unknown;
  const made = await setup({ ...ctx.job, payload }, ctx);
  ctx.setup = made;
  try {
    return await handler();
  } finally {
    await disposed(made, ctx);
  }
}

/** What tidying up throws is told, but changes nothing: the work is done, or has failed for its own reason. */
async function disposed(made: unknown, ctx: RunContext): Promise<void> {
  try {
    if (typeof made !== "object" || made === null) return;
    const { [Symbol.asyncDispose]: later, [Symbol.dispose]: now } = made as Partial<
      AsyncDisposable & Disposable
    >;
    if (typeof later === "function") await later.call(made);
    else if (typeof now === "function") now.call(made);
  } catch (thrown) {
    const { name, message } = serializeError(thrown);
    ctx.log.warn(`what setup made could not be disposed: ${name}: ${message}`);
  }
}

function observedRun(run: Run, definition: AnyJobDefinition): ObservedRun {
  return {
    ...run.event,
    run,
    trace: run.job.trace,
    attributes: () => run.spanAttributes(definition),
  };
}
