import { randomFrom } from "../support/size.ts";

/** What the handler of a booking does; see `child/booker.mjs`. */
export type Does =
  | "commit"
  /** The transaction stays open for seconds. */
  | "hold, then commit"
  | "hold, then roll back"
  | "roll back"
  /** As if it had not been rolled back. */
  | "roll back and return"
  /** In another transaction of the same run. */
  | "roll back, then commit"
  | "commit and throw"
  | "commit and give up"
  | "commit, then complete again"
  | "return before the commit"
  | "throw before the rollback"
  /** Until the job runs elsewhere: the completion comes too late. */
  | "sleep, then complete"
  /** The same, but the transaction has seen nothing yet: in SERIALIZABLE the lease itself must refuse it. */
  | "sleep, then begin"
  /** For longer than the leases of its process stand: others find the completion written, but not committed. */
  | "complete, then sleep"
  /** The job is dead. */
  | "give up";

/** When the process of a booking kills itself. */
const DEATHS = ["before it is written", "written", "commit under way", "committed", "returned"] as const;

/** A booking, as it stands in the payload of its job. */
export interface Plan {
  readonly number: number;
  readonly does: Does;
  readonly dieAt: (typeof DEATHS)[number] | null;
  readonly ms: number;
  /** Whether the job is kept when it is completed. */
  readonly isKept: boolean;
}

/** The bookings of a round, in an order of chance; the others commit. */
const ROUND: readonly (Does | "die")[] = [
  "hold, then commit",
  "hold, then roll back",
  "roll back",
  "roll back",
  "roll back and return",
  "roll back, then commit",
  "commit and throw",
  "commit and give up",
  "commit, then complete again",
  "return before the commit",
  "throw before the rollback",
  "sleep, then complete",
  "sleep, then begin",
  "complete, then sleep",
  "give up",
  "die",
];
export const ROUND_JOBS = 25;

/** Held as long as a slow statement or a lock elsewhere may hold one. */
const HOLD_MS = [2_000, 3_000] as const;
const SHORT_MS = 20;
/** How long the end of a transaction comes after the end of its handler. */
const LATER_MS = 400;
/** One in so many goes with its completion. */
const NOT_KEPT = 5;

/** Whole rounds of bookings. */
export function planBookings(n: number, seed: number): Plan[] {
  const random = randomFrom(seed);
  const plans: Plan[] = [];
  let deaths = 0;
  while (plans.length < n) {
    const round = Array.from({ length: ROUND_JOBS }, (_, index) => ROUND[index] ?? "commit");
    for (const what of shuffled(round, random)) {
      const dieAt = what === "die" ? (DEATHS[deaths++ % DEATHS.length] ?? null) : null;
      const does = what === "die" ? "commit" : what;
      plans.push({
        number: plans.length,
        does,
        dieAt,
        ms: Math.floor(msOf(does, random)),
        isKept: random() >= 1 / NOT_KEPT,
      });
    }
  }
  return plans.slice(0, n);
}

function msOf(does: Does, random: () => number): number {
  const [shortest, longest] = HOLD_MS;
  if (does.startsWith("hold")) return shortest + random() * (longest - shortest);
  return random() * (does.includes("before the") ? LATER_MS : SHORT_MS);
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map((item) => ({ item, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}
