import { type Duration, toMs } from "../duration.ts";
import { InvalidOptionError } from "../errors.ts";
import { checkKnown } from "../known-options.ts";

/** What can go wrong with a call to a storage. */
export const FAULT_KINDS = ["fail", "lose", "delay"] as const;
/**
 * `fail`: nothing was done, and the call fails. `lose`: it was done, and the call fails all the same.
 * `delay`: it is done, or answered, later. A hint that fails or is lost does not come.
 */
export type FaultKind = (typeof FAULT_KINDS)[number];

/** One call to the storage, or one hint that it gives. */
export interface FaultCall {
  /** As the storage contract names it: `enqueue`, `exchange`, `beat` …; `watch` for a hint. */
  readonly method: string;
  /** 1 for the first call of this method. */
  readonly n: number;
  /** What it is called with. Empty for a hint. */
  readonly args: readonly unknown[];
}

/** Faults by chance, the same ones again for the same seed. */
export interface RandomFaults {
  /** An integer. @default a random one, which is printed */
  readonly seed?: number;
  /** How many of all calls are hit, each from 0 to 1, and of all hints. */
  readonly rates?: {
    /** @default 0.05 */
    readonly fail?: number;
    /** @default 0.05 */
    readonly lose?: number;
    /** @default 0.05 */
    readonly delay?: number;
    /** Hints that do not come. @default 0.2 */
    readonly hints?: number;
  };
  /** Longest delay, of real time. @default "20ms" */
  readonly delay?: Duration;
}

/** What goes wrong, decided call by call: by chance, or by a function. */
export type FaultPlan = RandomFaults | ((call: FaultCall) => FaultKind | undefined);

/** A plan, ready to be asked. */
export interface CheckedPlan {
  /** `undefined` when the plan is a function. */
  readonly seed: number | undefined;
  faultOf(call: FaultCall): FaultKind | undefined;
  /** How long a delay is: before the call, and before its answer. */
  delayOf(call: FaultCall): { readonly beforeMs: number; readonly afterMs: number };
}

const RATES = { fail: 0.05, lose: 0.05, delay: 0.05, hints: 0.2 };
const DELAY_MS = 20;

/** @throws InvalidOptionError */
export function checkPlan(plan: FaultPlan): CheckedPlan {
  if (typeof plan === "function") {
    return {
      seed: undefined,
      faultOf: (call) => checkKind(plan(call)),
      delayOf: () => ({ beforeMs: DELAY_MS, afterMs: 0 }),
    };
  }
  checkKnown("option of faulty", plan, ["seed", "rates", "delay"]);
  checkKnown("rate", plan.rates ?? {}, Object.keys(RATES));
  const rates = { ...RATES, ...plan.rates };
  for (const [name, rate] of Object.entries(rates)) {
    if (typeof rate !== "number" || !(rate >= 0 && rate <= 1)) {
      throw new InvalidOptionError(`rates.${name}`, rate, "Use a number from 0 to 1.");
    }
  }
  const all = rates.fail + rates.lose + rates.delay;
  if (all > 1) {
    throw new InvalidOptionError("rates", all, "Let fail, lose and delay be at most 1 together.");
  }
  const seed = plan.seed ?? Math.floor(Math.random() * 2 ** 31);
  if (!Number.isSafeInteger(seed)) throw new InvalidOptionError("seed", seed, "Use an integer.");
  const delayMs = toMs(plan.delay ?? DELAY_MS, "delay", { max: 60_000 });
  return {
    seed,
    faultOf: (call) => {
      const drawn = draw(seed, call, "fault");
      if (call.method === "watch") return drawn < rates.hints ? "lose" : undefined;
      if (drawn < rates.fail) return "fail";
      if (drawn < rates.fail + rates.lose) return "lose";
      return drawn < all ? "delay" : undefined;
    },
    delayOf: (call) => {
      const ms = Math.ceil(delayMs * draw(seed, call, "delay"));
      const beforeMs = Math.floor(ms * draw(seed, call, "before"));
      return { beforeMs, afterMs: ms - beforeMs };
    },
  };
}

function checkKind(kind: FaultKind | undefined): FaultKind | undefined {
  if (kind === undefined || FAULT_KINDS.includes(kind)) return kind;
  throw new InvalidOptionError("fault", kind, `Answer ${FAULT_KINDS.join(", ")} or undefined.`);
}

/**
 * A number in [0, 1) that depends on the seed and the call alone. Calls of several methods come in another
 * order each time; a sequence of numbers would deal out other faults then (FNV-1a, finished as murmur3 is).
 */
function draw(seed: number, { method, n }: FaultCall, what: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(`${seed}/${method}/${n}/${what}`)) {
    hash = Math.imul(hash ^ byte, 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}
