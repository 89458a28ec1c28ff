import assert from "node:assert/strict";
import * as fc from "fast-check";
import type { Outcome } from "../../src/job/lifecycle.ts";
import { limits } from "../../src/job/limits.ts";
import type {
  ClaimedJob,
  ClaimRequest,
  Lease,
  NewJob,
  ProcessBeat,
  Settlement,
  Storage,
} from "../../src/storage/storage.ts";
import type { TestClock } from "../../src/testing/test-clock.ts";
import type { Ledger } from "./ledger.ts";

/** One call of a client. Those that do not wait go out together with the next one. */
export interface Step {
  readonly call: "enqueue" | "claim" | "settle" | "exchange" | "rescue" | "promote" | "cancel" | "leave";
  readonly waits: boolean;
  /** Picks whatever the call can choose. */
  readonly n: number;
}

export const step: fc.Arbitrary<Step> = fc.record({
  call: fc.oneof(
    { weight: 5, arbitrary: fc.constant("enqueue" as const) },
    { weight: 5, arbitrary: fc.constant("claim" as const) },
    { weight: 6, arbitrary: fc.constant("settle" as const) },
    { weight: 3, arbitrary: fc.constant("exchange" as const) },
    { weight: 3, arbitrary: fc.constant("rescue" as const) },
    { weight: 3, arbitrary: fc.constant("promote" as const) },
    { weight: 1, arbitrary: fc.constant("cancel" as const) },
    { weight: 2, arbitrary: fc.constant("leave" as const) },
  ),
  waits: fc.boolean(),
  n: fc.nat({ max: 9_999 }),
});

const NAMES = ["a", "b"];
const ERROR = { name: "Error", message: "no" };
const OUTCOMES: readonly Outcome[] = [
  { state: "completed" },
  { state: "dead", error: ERROR },
  { state: "available", marked: false },
  { state: "available", marked: true },
  { state: "scheduled", later: { delayMs: 0 }, attempt: "spent", error: ERROR },
  { state: "scheduled", later: { delayMs: 500 }, attempt: "kept" },
];

/** One job in four has a unique key, and one in three a limit key of which two may run. */
function withKeys(job: NewJob, n: number): NewJob {
  const key = `${n % 2}`;
  return {
    ...job,
    ...(n % 4 === 2 ? { unique: { scope: "", key, while: "live", onConflict: "keep" } } : {}),
    ...(n % 3 === 0 ? { limit: { scope: "", key, concurrency: 2 } } : {}),
  };
}

/** A process that calls the storage, several calls at a time, and tells the ledger what was asked and answered. */
export class Client {
  readonly #name: string;
  readonly #storage: Storage;
  readonly #ledger: Ledger;
  readonly #scheduler: fc.Scheduler;
  #processId = "";
  #calls = 0;
  #processes = 0;
  #leases: Lease[] = [];

  constructor(at: number, storage: Storage, ledger: Ledger, scheduler: fc.Scheduler) {
    this.#name = `client ${at}`;
    this.#storage = storage;
    this.#ledger = ledger;
    this.#scheduler = scheduler;
  }

  async run(steps: readonly Step[]): Promise<void> {
    await this.#register();
    let open: Promise<void>[] = [];
    for (const one of steps) {
      if (open.length === 0) await this.#scheduler.schedule(Promise.resolve(), `${this.#name} ${one.call}`);
      open.push(this.#call(one));
      if (!one.waits) continue;
      this.#ledger.coverage.see("calls: several of one client in one turn", open.length > 1);
      await Promise.all(open);
      open = [];
    }
    await Promise.all(open);
    await this.#beat({ leaving: true });
  }

  /** Run whatever is left to its end, as the only process alive. */
  async drain(clock: TestClock): Promise<void> {
    await this.#register();
    for (let rounds = 0; ; rounds++) {
      assert.ok(rounds < 1_000, "The jobs that are left come to their end.");
      await clock.advance("1s");
      await this.#storage.promote(limits.listPage);
      await this.#rescue(limits.listPage);
      const claimed = await this.#claim(limits.listPage, 0);
      await this.#settleAll(this.#leases.map((lease) => this.#settlement(lease, { state: "completed" })));
      this.#leases = [];
      const left = await Promise.all(
        (["available", "scheduled", "blocked", "running"] as const).map((state) =>
          this.#storage.count({ state }),
        ),
      );
      if (claimed === 0 && left.every(({ n }) => n === 0)) return;
    }
  }

  async #call({ call, n }: Step): Promise<void> {
    switch (call) {
      case "enqueue":
        return this.#enqueue(n);
      case "claim":
        await this.#claim(1 + (n % 4), n % 3);
        return;
      case "settle":
        return this.#settleAll(this.#settlements(n));
      case "exchange": {
        const list = this.#settlements(n);
        const request = this.#request(n % 3, n % 2);
        const end = this.#ledger.claimBegins();
        this.#ledger.ends(list);
        const { settled, claimed } = await this.#storage.exchange(list, request);
        end();
        this.#ledger.settled(this.#processId, list, settled);
        this.#took(claimed.jobs);
        return;
      }
      case "rescue":
        return this.#rescue(1 + (n % 3));
      case "promote":
        await this.#storage.promote(1 + (n % 3));
        return;
      case "cancel": {
        const id = this.#ledger.someId(n);
        if (id === undefined) return;
        const [result] = await this.#storage.change([id], { kind: "cancel", reason: "enough" });
        return this.#ledger.cancelled(id, result);
      }
      case "leave":
        // What it holds is lost. It goes on under a new id, and may try to settle what it held.
        await this.#beat({ leaving: true });
        return this.#register();
    }
  }

  async #enqueue(n: number): Promise<void> {
    const jobs: NewJob[] = Array.from({ length: 1 + (n % 3) }, (_, at) =>
      this.#ledger.newJob(NAMES[(n + at) % 2] ?? "a"),
    );
    // One in four shares its batch id, one in six its given ids with whoever draws the same.
    const batch = n % 4 === 0 ? `batch ${n % 3}` : undefined;
    const shared = n % 6 === 1 ? `given ${n % 2}` : undefined;
    const group =
      shared === undefined
        ? jobs.map((job, at) => withKeys(job, n + at))
        : jobs.map((job) => ({ ...job, name: "a", givenId: shared, payload: '"shared"' }));
    // A call whose answer is slow is repeated as it was, also while the first one is under way.
    const sent = batch === undefined ? group : this.#ledger.firstOf(batch, group);
    const [answer] = await this.#storage.enqueue([sent], batch);
    this.#ledger.enqueued(this.#name, sent, answer, batch, shared);
  }

  async #claim(room: number, readAhead: number): Promise<number> {
    const end = this.#ledger.claimBegins();
    const { jobs } = await this.#storage.claim(this.#request(room, readAhead));
    end();
    this.#took(jobs);
    return jobs.length;
  }

  #request(room: number, readAhead: number): ClaimRequest {
    const queues = [{ queue: "q", names: NAMES, room, readAhead }];
    return { processId: this.#processId, token: this.#token(), queues, starts: [] };
  }

  #took(jobs: readonly ClaimedJob[]): void {
    for (const job of jobs) {
      const { id, generation, token } = job;
      this.#leases.push({ id, generation, token });
      this.#ledger.claimed({ id, generation, token });
      this.#ledger.runs(job);
    }
  }

  async #rescue(limit: number): Promise<void> {
    const end = this.#ledger.rescueBegins();
    const jobs = await this.#storage.rescue({ processId: this.#processId, token: this.#token(), limit });
    end();
    for (const { id, generation, token } of jobs) {
      this.#leases.push({ id, generation, token });
      this.#ledger.rescued({ id, generation, token });
    }
  }

  /** Ends for some of the leases ever held, the newest first; now and then two ends for one lease. */
  #settlements(n: number): Settlement[] {
    const leases = this.#leases.slice(-6).filter((_, at) => (n >> at) % 2 === 0);
    const list = leases.map((lease, at) =>
      this.#settlement(lease, OUTCOMES[(n + at) % OUTCOMES.length] as Outcome, n % 5 === 0),
    );
    const last = leases.at(-1);
    if (last !== undefined && n % 7 === 0) list.push(this.#settlement(last, { state: "completed" }, true));
    if (n % 3 !== 0) this.#leases = this.#leases.filter((lease) => !leases.includes(lease));
    return list;
  }

  #settlement(lease: Lease, outcome: Outcome, hasChild: boolean = false): Settlement {
    const settlement = { lease, outcome, startedAt: this.#storage.clock.now() };
    return hasChild ? { ...settlement, enqueue: [this.#ledger.newJob("a")] } : settlement;
  }

  async #settleAll(list: readonly Settlement[]): Promise<void> {
    this.#ledger.ends(list);
    this.#ledger.settled(this.#processId, list, await this.#storage.settle(list));
  }

  async #register(): Promise<void> {
    this.#processes += 1;
    this.#processId = `${this.#name}.${this.#processes}`;
    await this.#beat({ first: true });
  }

  async #beat(what: Pick<ProcessBeat, "first" | "leaving">): Promise<void> {
    const facts = {
      host: "elsewhere",
      pid: 1,
      lostAfterMs: 25_000,
      queues: [],
      holds: [],
      starts: [],
    };
    await this.#storage.beat({ id: this.#processId, ...facts, ...what });
  }

  #token(): string {
    this.#calls += 1;
    return `${this.#processId}/${this.#calls}`;
  }
}
