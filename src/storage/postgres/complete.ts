import type { Outcome } from "../../job/lifecycle.ts";
import type { Settlement, SettleResult } from "../storage.ts";
import type { Queryable, Row } from "./database.ts";
import { placeholders } from "./claim.ts";
import { leaseParameters, type Store, textArray } from "./store.ts";
import { encodeText } from "./text.ts";

/** A settlement that the fast statement can make. */
export type Completion = Settlement & { readonly outcome: Outcome & { readonly state: "completed" } };

export function isCompletion(settlement: Settlement): settlement is Completion {
  return settlement.outcome.state === "completed" && settlement.enqueue === undefined;
}

const COMPLETE_CASTS = "float8,bigint[],int[],text[],int[],int[],float8[],json,json,text[]";
/** How many parameters a settle has. */
export const COMPLETE_WIDTH: number = COMPLETE_CASTS.split(",").length;

/** `$1::text::float8, …` */
export function completePlaceholders(): string {
  return placeholders(COMPLETE_CASTS, 1);
}

/** Parameters of a settle, and how to read its answer. */
export function planComplete(
  store: Store,
  completions: readonly Completion[],
): { values: (string | number | null)[]; read(row: Row | undefined): SettleResult[]; failed(): void } {
  // Whoever changes several jobs takes them in the order of their ids, so that nobody waits in a circle.
  const sorted = isSorted(completions)
    ? completions
    : [...completions].sort((a, b) => a.lease.id - b.lease.id);
  const leases = sorted.map(({ lease }) => lease);
  const parameters = leaseParameters(leases, store.leases);
  const done = store.leases.takeDone();
  const hasResults = sorted.some(({ outcome }) => outcome.result !== undefined);
  const hasReasons = sorted.some(({ outcome }) => outcome.reason !== undefined);
  const values = [
    store.now(),
    ...parameters,
    `{${sorted.map(({ startedAt }) => startedAt).join()}}`,
    hasResults
      ? JSON.stringify(
          sorted.map(({ outcome }) => (outcome.result === undefined ? null : encodeText(outcome.result))),
        )
      : null,
    hasReasons
      ? JSON.stringify(
          sorted.map(({ outcome }) => (outcome.reason === undefined ? null : JSON.stringify(outcome.reason))),
        )
      : null,
    done.length === 0 ? null : textArray(done),
  ];
  const read = (row: Row | undefined): SettleResult[] => {
    const text = row?.[0] ?? "";
    if (text === "") {
      store.leases.end(leases);
      return completions.map(() => "settled");
    }
    const results = new Map<Completion, SettleResult>();
    for (const [index, one] of sorted.entries()) results.set(one, text[index] === "1" ? "settled" : "stale");
    store.leases.end(leases.filter((_lease, index) => text[index] === "1"));
    store.leases.lose(leases.filter((_lease, index) => text[index] !== "1"));
    return completions.map((one) => results.get(one) as SettleResult);
  };
  return { values, read, failed: () => store.leases.putBackDone(done) };
}

/** Settle runs that returned. */
export async function complete(
  on: Queryable,
  store: Store,
  completions: readonly Completion[],
): Promise<SettleResult[]> {
  const { values, read, failed } = planComplete(store, completions);
  try {
    const [row] = await on.query(
      store.statement("complete", `select $s.complete(${completePlaceholders()}, false)`),
      values,
    );
    return read(row);
  } catch (error) {
    failed();
    throw error;
  }
}

function isSorted(completions: readonly Completion[]): boolean {
  for (let index = 1; index < completions.length; index += 1) {
    if ((completions[index - 1] as Completion).lease.id > (completions[index] as Completion).lease.id)
      return false;
  }
  return true;
}
