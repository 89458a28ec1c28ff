import { InvalidOptionError, LeaseLostError } from "../errors.ts";
import type { Completion, TransactionalStorage } from "../storage/transactional.ts";
import type { BatchRunItem } from "./batch-item.ts";

/** Complete jobs of a batch in a transaction. Answers those that were; the others are held by somebody else. */
export async function completeTogether(
  storage: TransactionalStorage,
  tx: object,
  items: readonly BatchRunItem[],
): Promise<ReadonlySet<BatchRunItem>> {
  const held = items.filter(({ run }) => !run.over && !(run.abortReason instanceof LeaseLostError));
  // The commit takes the leases away, and with them the right to say something.
  await Promise.all(held.map(({ run }) => (run.journal?.isOpen === true ? run.journal.saved() : undefined)));
  // Who was completed before may have been so by a commit whose answer was lost: only alone is that told apart.
  const again = held.filter(({ run }) => run.completedIn);
  const fresh = held.filter(({ run }) => !run.completedIn);
  const completed = new Set<BatchRunItem>();
  if (fresh.length > 0) await completeFresh(storage, tx, fresh, completed);
  for (const item of again) if (await completeAgain(tx, item)) completed.add(item);
  return completed;
}

async function completeFresh(
  storage: TransactionalStorage,
  tx: object,
  items: readonly BatchRunItem[],
  completed: Set<BatchRunItem>,
): Promise<void> {
  // From now on, since a call whose answer is lost may have written it.
  for (const { run } of items) run.completedIn = true;
  try {
    const results = await storage.settleAllIn(tx, items.map(completionOf));
    for (const [index, item] of items.entries()) {
      if (results[index] === "settled") completed.add(item);
      else item.run.completedIn = false;
    }
  } catch (error) {
    if (error instanceof InvalidOptionError) for (const { run } of items) run.completedIn = false;
    throw error;
  }
}

async function completeAgain(tx: object, { context, result }: BatchRunItem): Promise<boolean> {
  try {
    await context.completeIn(tx, result);
    return true;
  } catch (error) {
    if (error instanceof LeaseLostError) return false;
    throw error;
  }
}

function completionOf({ run: { lease, startedAt, said } }: BatchRunItem): Completion {
  const result = said?.kind === "returned" ? said.result : undefined;
  return { lease, startedAt, outcome: { state: "completed", ...(result === undefined ? {} : { result }) } };
}
