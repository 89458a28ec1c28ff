import type { LimitKey } from "../../job/key.ts";
import type { JobId } from "../../job/job.ts";
import type { DurableTables, VolatileTables } from "./environments.ts";
import {
  blockedKey,
  digestEnd,
  digestKey,
  digestLaneKey,
  limitDigest,
  readBlocked,
  wholeKey,
} from "./keys.ts";
import type { LeaseRecord } from "./records.ts";

/**
 * Keys of which only so many jobs run at a time, as one durable write sees and changes them. What runs is told by
 * the leases, less those that this write ends; what stands in line is a durable count, the running ones included,
 * because a claim writes nothing durable. At most as many of a key and lane stand in line as may run; the others
 * are blocked, outside of everything a claim looks at.
 */
export class LimitKeys {
  readonly #tables: DurableTables;
  readonly #volatile: VolatileTables;
  readonly #keys = new Map<string, Key>();

  constructor(tables: DurableTables, volatile: VolatileTables) {
    this.#tables = tables;
    this.#volatile = volatile;
  }

  /** Whether one more of the key may stand in line in a lane. */
  hasRoom(limit: LimitKey, lane: number): boolean {
    const digest = digestOf(limit);
    const { running } = this.#key(digest);
    return total(running) - (running.get(lane) ?? 0) + this.#inLine(digest, lane) < limit.concurrency;
  }

  /** A run of the key has ended. */
  stopped({ limit, lane }: LeaseRecord): void {
    if (limit === undefined) return;
    const { running } = this.#key(limit);
    running.set(lane, (running.get(lane) ?? 0) - 1);
  }

  /** A job came into line, or left it. */
  stoodInLine(limit: LimitKey | undefined, lane: number, by: 1 | -1): void {
    if (limit === undefined) return;
    const digest = digestOf(limit);
    this.#key(digest).inLine.set(lane, this.#inLine(digest, lane) + by);
  }

  block(id: JobId, limit: LimitKey, lane: number, priority: number, seq: number): void {
    this.#tables.blocked.put(blockedKey(digestOf(limit), lane, priority, seq), String(id));
    this.#tables.blockedId.put(wholeKey(id), "");
  }

  unblock(id: JobId, limit: LimitKey, lane: number, priority: number, seq: number): void {
    this.#tables.blocked.remove(blockedKey(digestOf(limit), lane, priority, seq));
    this.#tables.blockedId.remove(wholeKey(id));
  }

  /** The first blocked job of each lane of the key, lane by lane; of a lane again, as long as the answer is "admitted". */
  eachBlocked(limit: LimitKey, admit: (id: JobId) => boolean): void {
    const digest = digestOf(limit);
    const end = digestEnd(digest);
    let from = blockedKey(digest, 0, LOWEST_PRIORITY, 0);
    for (;;) {
      const row = this.#tables.blocked.first(from, end);
      if (row === undefined) return;
      if (!admit(Number(row.value)))
        from = blockedKey(digest, readBlocked(row.key).lane + 1, LOWEST_PRIORITY, 0);
    }
  }

  #key(digest: string): Key {
    let key = this.#keys.get(digest);
    if (key === undefined) {
      key = { running: readRunning(this.#volatile, digest), inLine: new Map() };
      this.#keys.set(digest, key);
    }
    return key;
  }

  #inLine(digest: string, lane: number): number {
    return (
      this.#key(digest).inLine.get(lane) ?? Number(this.#tables.inLine.get(digestLaneKey(digest, lane)) ?? 0)
    );
  }

  /** Write what was gathered. */
  save(): void {
    for (const [digest, { inLine }] of this.#keys) {
      for (const [lane, count] of inLine) {
        const key = digestLaneKey(digest, lane);
        if (count > 0) this.#tables.inLine.put(key, String(count));
        else this.#tables.inLine.remove(key);
      }
    }
  }
}

interface Key {
  /** By lane. */
  readonly running: Map<number, number>;
  /** By lane, the running ones included; only those that this write changes. */
  readonly inLine: Map<number, number>;
}

const LOWEST_PRIORITY = -0x8000;

/** Jobs come and go in runs of one key. */
let last = { scope: "", key: "", digest: "" };

export function digestOf({ scope, key }: LimitKey): string {
  if (last.digest === "" || last.key !== key || last.scope !== scope)
    last = { scope, key, digest: limitDigest(scope, key) };
  return last.digest;
}

/** How many jobs of a key run, by lane. */
export function readRunning({ limit }: VolatileTables, digest: string): Map<number, number> {
  const running = new Map<number, number>();
  const text = limit.get(digestKey(digest));
  if (text === undefined) return running;
  const flat = JSON.parse(text) as number[];
  for (let i = 0; i < flat.length; i += 2) running.set(flat[i] as number, flat[i + 1] as number);
  return running;
}

/** Inside a volatile transaction. */
export function writeRunning(
  { limit }: VolatileTables,
  digest: string,
  running: ReadonlyMap<number, number>,
): void {
  const flat = [...running].filter(([, n]) => n > 0).flat();
  if (flat.length > 0) limit.put(digestKey(digest), JSON.stringify(flat));
  else limit.remove(digestKey(digest));
}

export function total(running: ReadonlyMap<number, number>): number {
  let sum = 0;
  for (const n of running.values()) sum += n;
  return sum;
}
