import { chmodSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { open as openLmdb, type RootDatabase } from "lmdb";
import { checkIntact, PAGE_BYTES } from "./intact.ts";
import { Table } from "./table.ts";

/** What must survive everything; a commit is on disk when it returns. */
const DURABLE = [
  /** id → spec */
  "job",
  /** id → head, once it differs from what the spec implies */
  "head",
  /** place → "" or "h" when there is a head record; `id` when it differs from the seq: see `readyValue` */
  "ready",
  /** (runAt, id) → lane */
  "scheduled",
  /** (final state, end, chunk) → ids in the order of their ends */
  "ended",
  /** (expiresAt, chunk) → key of `ended` */
  "expiry",
  /** (name, given id) → id */
  "given",
  /** (id, number) → failed attempt */
  "attempt",
  /** (id, key) → checkpoint entry */
  "checkpoint",
  /** (id, number) → log line */
  "log",
  /** unique key → the job that took it last, and how long it holds it */
  "key",
  /** (instant, unique key) → "" for keys that are held until then */
  "keyEnd",
  /** (limit key, lane, priority, seq) → id of a blocked job */
  "blocked",
  /** id → "" for blocked jobs */
  "blockedId",
  /** (limit key, lane) → how many jobs of the key are in `ready`, those that run included */
  "inLine",
  /** key → schedule */
  "schedule",
  /** (instant, key) → key of a schedule */
  "scheduleAt",
  /** (lane, width, bucket) → how many jobs came and ended, before the minute that `counts` has */
  "flow",
  /** number → queue and name */
  "lane",
  /** number → options shared by jobs */
  "policy",
  /** lane → how many jobs are where, and how many came and ended in the last minute in which any did */
  "counts",
  /** queue, or queue and name, that is paused */
  "paused",
  /** batch id → answers so far */
  "batch",
  /** (instant, number) → batch id */
  "batchAge",
  "meta",
] as const;

/** What must survive the death of processes, not of the machine: never synced, thrown away after a boot. */
const VOLATILE = [
  /** id → lease */
  "lease",
  /** lane → how many run, and up to which seq each line was given out */
  "line",
  /** place → "" for jobs given back behind that seq */
  "again",
  "process",
  /** limit key → how many of its jobs run, by lane */
  "limit",
  /** process → how many leases it holds */
  "held",
  /** (process, id) → request to cancel */
  "ask",
  /** number → a process that has the store open */
  "instance",
  /** (id, instance) → "" for jobs whose end someone waits for */
  "awaited",
  "meta",
] as const;

export type DurableTables = Readonly<Record<(typeof DURABLE)[number], Table>>;
export type VolatileTables = Readonly<Record<(typeof VOLATILE)[number], Table>>;

export interface EnvironmentOptions {
  /** Address space for the durable data. */
  readonly mapBytes: number;
  /** For tests of what an environment does when it is full. */
  readonly volatileMapBytes: number;
  /** Tells one run of the machine from the next. */
  readonly bootId: string;
}

/**
 * The two LMDB environments of a store. Every method must be called inside the gate, except reading.
 */
export class Environments {
  readonly #folder: string;
  readonly #options: EnvironmentOptions;
  #durableRoot: RootDatabase<string, Uint8Array> | undefined;
  #volatileRoot: RootDatabase<string, Uint8Array> | undefined;
  durable!: DurableTables;
  volatile!: VolatileTables;

  constructor(folder: string, options: EnvironmentOptions) {
    this.#folder = folder;
    this.#options = options;
  }

  get isOpen(): boolean {
    return this.#durableRoot !== undefined && this.#volatileRoot !== undefined;
  }

  open(): void {
    if (this.isOpen) return;
    this.close();
    this.#forgetOtherBoots();
    const { mapBytes, volatileMapBytes } = this.#options;
    this.#durableRoot = openRoot(join(this.#folder, "store.mdb"), mapBytes, true);
    this.durable = tables(this.#durableRoot, DURABLE);
    this.#volatileRoot = openRoot(join(this.#folder, "volatile.mdb"), volatileMapBytes, false);
    this.volatile = tables(this.#volatileRoot, VOLATILE);
  }

  /** LMDB closes at once when no asynchronous work is under way, and there never is any. */
  close(): void {
    const roots = [this.#durableRoot, this.#volatileRoot];
    this.#durableRoot = undefined;
    this.#volatileRoot = undefined;
    // A broken environment may refuse; it is let go of all the same.
    for (const root of roots) root?.close().catch(() => {});
  }

  /** Commit durably: when it returns, the disk has it. */
  writeDurable(body: () => void): void {
    transact(this.#durableRoot, body);
  }

  writeVolatile(body: () => void): void {
    transact(this.#volatileRoot, body);
  }

  /**
   * Have LMDB put right what a writer left that died in the middle of a commit: then the commit is on disk,
   * and readers do not see it until the write lock was taken once more. Whoever decides by what he reads and
   * writes afterwards would write by what was before, so this comes first in the gate. It costs no sync.
   */
  recover(): void {
    transact(this.#durableRoot, NOTHING);
    transact(this.#volatileRoot, NOTHING);
  }

  /** Let the next read see what is committed by now. */
  refreshDurable(): void {
    this.#durableRoot?.resetReadTxn();
  }

  refreshVolatile(): void {
    this.#volatileRoot?.resetReadTxn();
  }

  /** Readers that died leave old pages pinned. */
  forgetDeadReaders(): void {
    this.#durableRoot?.readerCheck();
    this.#volatileRoot?.readerCheck();
  }

  /** The volatile data of another boot may be half written, and nobody it speaks of lives. */
  #forgetOtherBoots(): void {
    const stamp = join(this.#folder, "boot");
    const { bootId } = this.#options;
    if (readIfThere(stamp) === bootId) return;
    for (const name of ["volatile.mdb", "volatile.mdb-lock"])
      rmSync(join(this.#folder, name), { force: true });
    writeFileSync(stamp, bootId, { mode: 0o600 });
  }
}

const NOTHING = (): void => {};

function openRoot(path: string, mapSize: number, isDurable: boolean): RootDatabase<string, Uint8Array> {
  const isThere = checkIntact(path);
  const root = openLmdb<string, Uint8Array>({
    path,
    noSubdir: true,
    // Address space only: file and memory stay as small as the data. Growing it later would mean to map
    // the file anew under the feet of other processes.
    mapSize,
    maxDbs: 32,
    maxReaders: 2_048,
    pageSize: PAGE_BYTES,
    encoding: "string",
    keyEncoding: "binary",
    cache: false,
    // Two barriers in one commit, and nothing to roll back at the next open. The overlapping mode keeps a
    // number of its own in each process, which is wrong as soon as two write.
    overlappingSync: false,
    ...(isDurable ? {} : { noSync: true, noMemInit: true }),
  });
  // Payloads are nobody else's business, whatever folder they are put in.
  if (!isThere) chmodSync(path, 0o600);
  return root;
}

function tables<N extends string>(
  root: RootDatabase<string, Uint8Array>,
  names: readonly N[],
): Record<N, Table> {
  const opened = names.map((name) => [
    name,
    new Table(root.openDB<string, Uint8Array>(name, { encoding: "string", keyEncoding: "binary" })),
  ]);
  return Object.fromEntries(opened) as Record<N, Table>;
}

/**
 * A callback that returned a promise would leave the transaction, and with it the store, open until it is
 * settled: so nothing is returned, and a body that hands back a promise is refused and undone.
 */
function transact(root: RootDatabase<string, Uint8Array> | undefined, body: () => void): void {
  if (root === undefined) throw new Error("MDB_PANIC: the environment is closed");
  root.transactionSync(() => {
    const returned: unknown = body();
    if (returned !== undefined) throw new TypeError("The body of a transaction must return nothing.");
  });
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
