import { InvalidValueError, ShutdownError } from "../errors.ts";
import type { AnyJobDefinition, BatchHandling } from "../job/definition.ts";
import type { RunEnd } from "../job/lifecycle.ts";
import { observed } from "./around.ts";
import { BatchRunContext } from "./batch-context.ts";
import { BatchRunItem } from "./batch-item.ts";
import { type Checked, checkedPayload, endOf, type Run } from "./run.ts";
import type { RunServices } from "./run-context.ts";
import { endOfReturn, endOfThrow, refusedPayload } from "./thread/ending.ts";

export interface BatchDeps {
  /** One run for each job; all of one definition and queue. */
  readonly runs: readonly Run[];
  readonly definition: AnyJobDefinition;
  readonly services: RunServices;
  /** Called once for each run. */
  ended(run: Run, end: RunEnd): void;
  /** The call has returned, and all runs have ended. */
  over(): void;
}

/** Jobs that one call of a handler does together, each with an end of its own. */
export class Batch {
  readonly #deps: BatchDeps;

  constructor(deps: BatchDeps) {
    this.#deps = deps;
  }

  /** Never throws: whatever happens becomes the ends of the runs. */
  start(): void {
    void this.#run().then(() => this.#deps.over());
  }

  async #run(): Promise<void> {
    const { definition, services, ended } = this.#deps;
    const checks = this.#deps.runs.map((run) => checkOf(run, definition));
    // Only where a schema is asynchronous: a promise for each job would cost more than the rest of it.
    const isWaiting = checks.some((check) => check instanceof Promise);
    const items = this.#itemsOf(isWaiting ? await Promise.all(checks) : (checks as Check[]));
    if (items.length === 0) return;
    const handled = this.#observed(items);
    const context = new BatchRunContext(items, definition.name, services);
    const { run } = definition.batch as BatchHandling;
    let ends: readonly RunEnd[];
    try {
      ends = endsOf(
        await run(items as readonly unknown[] as readonly never[], context as never),
        items.length,
      );
    } catch (thrown) {
      const end = endOfThrow(thrown);
      ends = items.map(() => end);
    }
    for (const item of items) item.close();
    handled();
    const saved = items.flatMap(({ run: { journal } }) => (journal?.isOpen === true ? journal.saved() : []));
    if (saved.length > 0) await Promise.all(saved);
    for (const [index, item] of items.entries()) ended(item.run, endOfItem(item.run, ends[index] as RunEnd));
  }

  /** Each run is seen by those who watch runs. Answers what to call when the handler has ended. */
  #observed(items: readonly BatchRunItem[]): () => void {
    const { definition, services } = this.#deps;
    let handled = (): void => undefined;
    if (services.around.observers.length === 0) return handled;
    const isHandled = new Promise<void>((resolve) => (handled = resolve));
    for (const { run, payload } of items) {
      run.payload = payload;
      void quietly(async () => observed(run, definition, services.around, () => isHandled));
    }
    return handled;
  }

  /** The jobs whose payloads are good. The others end at once, by themselves. */
  #itemsOf(checks: readonly Check[]): BatchRunItem[] {
    const { runs, definition, services, ended } = this.#deps;
    const items: BatchRunItem[] = [];
    for (const [index, run] of runs.entries()) {
      const check = checks[index] as Check;
      if ("payload" in check) items.push(new BatchRunItem(run, check.payload, services, definition));
      else ended(run, endOf(run, check));
    }
    return items;
  }
}

/** Who watches takes no part, and cannot fail the jobs that it watches. */
async function quietly(watch: () => Promise<unknown>): Promise<void> {
  await watch().catch(() => undefined);
}

/** A payload as the handler gets it, or the end of a run that has none. */
type Check = { readonly payload: unknown } | RunEnd;

function checkOf(run: Run, definition: AnyJobDefinition): Check | Promise<Check> {
  const judge = (checked: Awaited<Checked>): Check =>
    checked.ok ? { payload: checked.payload } : endOfThrow(refusedPayload(run.job.name, checked));
  try {
    const checked = checkedPayload(run, definition);
    return checked instanceof Promise ? checked.then(judge).catch(endOfThrow) : judge(checked);
  } catch (thrown) {
    return endOfThrow(thrown);
  }
}

/** What the handler returned, for each of the jobs. @throws InvalidValueError when nobody knows which is whose */
function endsOf(returned: unknown, jobs: number): readonly RunEnd[] {
  if (!Array.isArray(returned)) {
    // The work is done, whatever that may be.
    const end: RunEnd =
      returned === undefined || returned === null
        ? { kind: "returned" }
        : {
            kind: "returned",
            note: "A batch handler returns nothing, or an array with an outcome for each job.",
          };
    return Array.from({ length: jobs }, () => end);
  }
  if (returned.length !== jobs) {
    throw new InvalidValueError(
      "What the batch handler returned",
      `Return an outcome for each of the ${jobs} jobs, in their order; these are ${returned.length}.`,
    );
  }
  return Array.from(returned, (one: unknown) => (one instanceof Error ? endOfThrow(one) : endOfReturn(one)));
}

/** What was said of a job stands, also when the batch is too late; the rest is judged as any run. */
function endOfItem(run: Run, end: RunEnd): RunEnd {
  const { said, completedIn, abortReason } = run;
  // That it was completed in a transaction is for the storage to say; this counts if it was not.
  if (said === undefined || (completedIn && said.kind === "returned")) return endOf(run, end);
  if (said.kind === "threw" && abortReason instanceof ShutdownError) return { kind: "released" };
  return said;
}
