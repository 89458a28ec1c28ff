import assert from "node:assert/strict";
import { isFinal, JOB_STATES, type JobId } from "../../src/job/job.ts";
import type { ChangeResult } from "../../src/job/change.ts";
import { heedAsk, newHead } from "../../src/job/lifecycle.ts";
import { limits } from "../../src/job/limits.ts";
import type {
  ClaimedJob,
  GroupResult,
  Lease,
  NewJob,
  Settlement,
  SettleResult,
  Storage,
  StoredJob,
} from "../../src/storage/storage.ts";
import type { ConcurrentEvent, Coverage } from "./coverage.ts";

/** What happened to one run of a job, from its claim to its end. */
interface Run {
  claims: number;
  /** Tokens under which it was rescued. */
  readonly rescuers: Set<string>;
  /** Every token under which it was held: the claim's, then one for each rescue. */
  readonly tokens: Set<string>;
  /** Everything that was asked to end it, with the answers. */
  readonly ends: { readonly settlement: Settlement; readonly result: SettleResult }[];
}

/** Keeps what clients asked and were answered, and checks what must hold in whatever order it happened. */
export class Ledger {
  readonly coverage: Coverage<ConcurrentEvent>;
  readonly #runs: Map<string, Run> = new Map();
  /** Acknowledged jobs, by what tells them apart: each must be stored once. */
  readonly #stored: Map<string, JobId> = new Map();
  readonly #batches: Map<string, { clients: Set<string>; answer: string }> = new Map();
  readonly #groups: Map<string, readonly NewJob[]> = new Map();
  readonly #given: Map<string, { clients: Set<string>; id: JobId }> = new Map();
  readonly #cancelled: Set<JobId> = new Set();
  /** Asked while it ran: the run that hears of it ends the job, whatever it ends with. */
  readonly #asked: Set<JobId> = new Set();
  /** Runs that were given and that nobody has begun to end, by what keeps their number small. */
  readonly #running: Map<string, Set<string>> = new Map();
  #jobs = 0;
  #claiming = 0;
  #rescuing = 0;

  constructor(coverage: Coverage<ConcurrentEvent>) {
    this.coverage = coverage;
  }

  /** A job that no other is equal to. */
  newJob(name: string): NewJob {
    this.#jobs += 1;
    return {
      name,
      queue: "q",
      payload: `"job ${this.#jobs}"`,
      maxRetries: null,
      backoff: { kind: "fixed", delayMs: 0 },
      timeoutMs: null,
      retention: { completedMs: null, cancelledMs: null, deadMs: null },
      tags: [],
      priority: 0,
    };
  }

  someId(n: number): JobId | undefined {
    const ids = [...this.#stored.values()];
    return ids[n % ids.length];
  }

  /** The jobs that a batch id came with first. */
  firstOf(batch: string, group: readonly NewJob[]): readonly NewJob[] {
    const first = this.#groups.get(batch) ?? group;
    this.#groups.set(batch, first);
    return first;
  }

  enqueued(
    client: string,
    group: readonly NewJob[],
    answer: GroupResult | undefined,
    batch?: string,
    given?: string,
  ): void {
    assert.ok(answer?.ok === true, "No group of these runs can be refused.");
    if (batch !== undefined) {
      const known = this.#batches.get(batch);
      if (known !== undefined) {
        known.clients.add(client);
        assert.equal(JSON.stringify(answer), known.answer, `Batch ${batch} is answered as the first time.`);
        return this.coverage.see("enqueue: batch id used by two clients", known.clients.size > 1);
      }
      this.#batches.set(batch, { clients: new Set([client]), answer: JSON.stringify(answer) });
    }
    if (given !== undefined) {
      const id = answer.jobs[0]?.id ?? 0;
      const known = this.#given.get(given) ?? { clients: new Set(), id };
      this.#given.set(given, known);
      known.clients.add(client);
      for (const job of answer.jobs) assert.equal(job.id, known.id, `Given id ${given} belongs to one job.`);
      this.coverage.see("enqueue: given id used by two clients", known.clients.size > 1);
    }
    this.coverage.see(
      "enqueue: unique key held",
      given === undefined && answer.jobs.some(({ status }) => status === "existing"),
    );
    for (const [at, job] of group.entries()) {
      this.#stored.set(job.givenId ?? job.payload, answer.jobs[at]?.id ?? 0);
    }
  }

  claimBegins(): () => void {
    this.#claiming += 1;
    this.coverage.see("claim: two clients at once", this.#claiming > 1);
    return () => (this.#claiming -= 1);
  }

  claimed(lease: Lease): void {
    const run = this.#run(lease);
    run.claims += 1;
    run.tokens.add(lease.token);
    assert.equal(run.claims, 1, `Job ${lease.id} was claimed twice at generation ${lease.generation}.`);
  }

  /** A run was given: of its keys no more run for sure than may. */
  runs({ id, generation, unique, limit }: ClaimedJob): void {
    const keys: [key: string, most: number][] = [];
    if (unique !== undefined) keys.push([`unique ${unique.key}`, 1]);
    if (limit !== undefined) keys.push([`limit ${limit.key}`, limit.concurrency]);
    for (const [key, most] of keys) {
      const running = this.#running.get(key) ?? new Set();
      this.#running.set(key, running.add(`${id} ${generation}`));
      assert.ok(running.size <= most, `Of ${key}, ${[...running].join(" and ")} run at once; ${most} may.`);
      this.coverage.see("claim: as many of a limit key as may run", running.size === most && most > 1);
    }
  }

  /** Somebody is about to end these runs: whether they go on until the answer is not known. */
  ends(list: readonly Settlement[]): void {
    for (const { lease } of list) {
      for (const running of this.#running.values()) running.delete(`${lease.id} ${lease.generation}`);
    }
  }

  rescueBegins(): () => void {
    this.#rescuing += 1;
    this.coverage.see("rescue: two clients at once", this.#rescuing > 1);
    return () => (this.#rescuing -= 1);
  }

  rescued(lease: Lease): void {
    const run = this.#run(lease);
    run.tokens.add(lease.token);
    run.rescuers.add(lease.token);
    this.coverage.see("rescue: lease moved");
  }

  settled(processId: string, list: readonly Settlement[], results: readonly SettleResult[]): void {
    assert.equal(results.length, list.length, "settle() answers one entry for each settlement.");
    for (const [at, settlement] of list.entries()) {
      const result = results[at] as SettleResult;
      this.#run(settlement.lease).ends.push({ settlement, result });
      const hasLeft = !settlement.lease.token.startsWith(`${processId}/`);
      this.coverage.see("settle: by a process that left, before its rescue", hasLeft && result === "settled");
    }
  }

  cancelled(id: JobId, result: ChangeResult | undefined): void {
    if (result === "asked") this.#asked.add(id);
    if (result === "changed") {
      assert.ok(!this.#cancelled.has(id), `Job ${id} was cancelled twice.`);
      this.#cancelled.add(id);
      this.coverage.see("cancel: waiting job");
    }
    this.coverage.see("cancel: running job", result === "asked");
  }

  /** After quiet: every job is stored once and has ended once, and its record agrees with the answers. */
  async check(storage: Storage): Promise<void> {
    const pages = await Promise.all(
      JOB_STATES.map((state) => storage.list({ state, limit: limits.listPage })),
    );
    const jobs = pages.flatMap((page) => page.jobs);
    assert.equal((await storage.count({})).n, jobs.length, "The count is that of the listed jobs.");
    assert.equal(new Set(jobs.map((job) => job.id)).size, jobs.length, "No job is listed in two states.");
    const payloads = jobs.map((job) => job.payload).filter((payload) => payload !== '"shared"');
    assert.equal(new Set(payloads).size, payloads.length, "No job is stored twice.");
    for (const [payload, id] of this.#stored) {
      assert.ok(
        jobs.some((job) => job.id === id),
        `The acknowledged job ${id} (${payload}) is lost.`,
      );
    }
    for (const job of jobs) this.#checkJob(job);
    const children = this.#checkChildren(new Set(payloads));
    const acknowledged = new Set(this.#stored.values()).size;
    assert.equal(jobs.length, acknowledged + children, "Nothing is stored that was not acknowledged.");
  }

  #checkJob(job: StoredJob): void {
    assert.ok(isFinal(job.state), `Job ${job.id} has ended: it is ${job.state}.`);
    let [finals, failures, spent] = [0, 0, 0];
    for (let generation = 0; generation <= job.generation; generation++) {
      const run = this.#runs.get(`${job.id} ${generation}`);
      const enders = new Set(
        run?.ends.filter(({ result }) => result === "settled").map((end) => end.settlement.lease.token),
      );
      const wasCancelled = generation === job.generation && this.#cancelled.has(job.id);
      assert.equal(
        enders.size,
        wasCancelled ? 0 : 1,
        `Run ${generation} of job ${job.id} was ended by ${[...enders].join() || "no one"}.`,
      );
      if (wasCancelled || run === undefined) continue;
      const [token] = enders;
      const isHeld = run.tokens.has(token as string);
      assert.ok(isHeld, `Run ${generation} of job ${job.id} was ended by ${token}, which never held it.`);
      // A rescue moves a lease that stands; from then on the one before it ends nothing, whenever it came.
      const isFenced = run.rescuers.size === 0 || run.rescuers.has(token as string);
      assert.ok(
        isFenced,
        `Run ${generation} of job ${job.id} was rescued, and ended by ${token} all the same.`,
      );
      this.coverage.see(
        "settle: refused after a rescue",
        run.tokens.size > 1 && run.ends.some((end) => end.result === "stale"),
      );
      // Of several ends by one lease the first counts, but which was first the answers do not say.
      const ends = run.ends.filter(({ result }) => result === "settled").map((end) => end.settlement.outcome);
      const states = new Set(ends.map((outcome) => JSON.stringify(outcome)));
      this.coverage.see("settle: same lease at once with another end", states.size > 1);
      if (states.size > 1) return;
      const [decided] = ends;
      if (decided === undefined) continue;
      // A run that was asked to end is the last one: no other end leaves the job waiting.
      const wasAsked = generation === job.generation && this.#asked.has(job.id);
      const outcome = wasAsked
        ? heedAsk({ ...newHead({ priority: 0 }, 0, 0), cancelAsked: job.reason ?? "" }, decided)
        : decided;
      this.coverage.see("settle: an ask was heeded", outcome !== decided);
      if (outcome.state !== "scheduled" && outcome.state !== "available") finals += 1;
      if ("error" in outcome && outcome.error !== undefined) failures += 1;
      if (outcome.state === "cancelled" && outcome.unspent === true) continue;
      if (outcome.state === "scheduled" ? outcome.attempt === "spent" : outcome.state !== "available")
        spent += 1;
    }
    assert.equal(finals + (this.#cancelled.has(job.id) ? 1 : 0), 1, `Job ${job.id} ends once.`);
    assert.equal(job.failures, failures, `Job ${job.id} has failed as often as was said.`);
    assert.equal(job.attempt, spent, `Job ${job.id} has spent an attempt for each end that spends one.`);
  }

  /** Jobs that came with a settle: of each run exactly the first end's, of a refused one none. */
  #checkChildren(payloads: ReadonlySet<string>): number {
    let jobs = 0;
    for (const [key, run] of this.#runs) {
      const childrenOf = (result: SettleResult): NewJob[][] =>
        run.ends
          .filter((end) => end.result === result)
          .map(({ settlement }) => [...(settlement.enqueue ?? [])]);
      for (const child of childrenOf("stale").flat()) {
        assert.ok(!payloads.has(child.payload), `A refused settle of run ${key} stored ${child.payload}.`);
      }
      const groups = childrenOf("settled");
      const stored = groups.filter((group) => group.some((child) => payloads.has(child.payload)));
      const isCertain = groups.length > 0 && groups.every((group) => group.length > 0);
      assert.ok(
        stored.length <= 1,
        `Run ${key} was ended once and stored the jobs of ${stored.length} ends.`,
      );
      assert.ok(!isCertain || stored.length === 1, `The job that came with the end of run ${key} is lost.`);
      this.coverage.see("settle: with a job", stored.length === 1);
      jobs += stored.flat().length;
    }
    return jobs;
  }

  #run({ id, generation }: Lease): Run {
    const key = `${id} ${generation}`;
    const known = this.#runs.get(key) ?? { claims: 0, rescuers: new Set(), tokens: new Set(), ends: [] };
    this.#runs.set(key, known);
    return known;
  }
}
