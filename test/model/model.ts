import { type Change, changeHead, type ChangeResult, replaceHead } from "../../src/job/change.ts";
import { isFinal, type JobHead, type JobId, type JobSpec } from "../../src/job/job.ts";
import { isReplaceable, isSameLimit } from "../../src/job/key.ts";
import * as life from "../../src/job/lifecycle.ts";
import { limits } from "../../src/job/limits.ts";
import type * as contract from "../../src/storage/storage.ts";
import { byPlace, LimitKeys } from "./limit-keys.ts";
import { type Held, type ModelJob, type ModelProcess, stateOf } from "./model-job.ts";
import { Schedules } from "./schedules.ts";
import { Tally } from "./tally.ts";
import { UniqueKeys } from "./unique-keys.ts";

/**
 * The reference model: what `storage.ts` promises, in the plainest form. Arrays are searched and sorted
 * anew in every call, and what becomes of a job is asked of `lifecycle.ts`, as every engine does.
 * Where the contract leaves a choice to the engine (which of many lost leases move, which of many expired
 * jobs go), the caller tells the model what the engine chose.
 */
export class Model {
  now: number;
  live = 0;
  jobs: ModelJob[] = [];
  readonly batches: Map<string, { at: number; answer: contract.GroupResult[] }> = new Map();
  readonly processes: ModelProcess[] = [];
  readonly lanes: { queue: string; name: string; paused: boolean }[] = [];
  readonly pausedQueues: Set<string> = new Set();
  readonly uniqueKeys: UniqueKeys = new UniqueKeys(this);
  readonly limitKeys: LimitKeys = new LimitKeys(this);
  readonly schedules: Schedules = new Schedules(this);
  readonly tally: Tally = new Tally(this);
  #ids = 0;
  #seq = 0;

  constructor(now: number) {
    this.now = now;
  }

  // ── In ─────────────────────────────────────────────────────────────────────

  enqueue(groups: readonly (readonly contract.NewJob[])[], batchId?: string): contract.GroupResult[] {
    const seen = batchId === undefined ? undefined : this.batches.get(batchId);
    if (seen !== undefined) return seen.answer;
    const answer = groups.map((group) => this.enqueueGroup(group));
    if (batchId !== undefined) this.batches.set(batchId, { at: this.now, answer });
    return answer;
  }

  enqueueGroup(group: readonly contract.NewJob[]): contract.GroupResult {
    const refused = this.#takenId(group) ?? this.uniqueKeys.heldKey(group);
    if (refused !== undefined) return { ok: false, ...refused };
    return { ok: true, jobs: group.map((job) => this.#store(job)) };
  }

  /** The first job of a group whose given id belongs to a job with another payload. */
  #takenId(group: readonly contract.NewJob[]): { refusal: contract.Refusal; index: number } | undefined {
    for (const [index, job] of group.entries()) {
      if (job.givenId === undefined) continue;
      const stored = this.#namesake(job);
      const same = stored?.spec ?? group.slice(0, index).find((one) => isNamesake(one, job));
      // 0: the id was taken by the group itself, so there is no job that could be named.
      if (same !== undefined && same.payload !== job.payload) {
        return { refusal: { kind: "duplicate-id", existing: stored?.id ?? 0 }, index };
      }
    }
    return undefined;
  }

  #namesake(job: contract.NewJob): ModelJob | undefined {
    return this.jobs.find(({ spec }) => isNamesake(spec, job));
  }

  #store(job: contract.NewJob): contract.EnqueueResult {
    const same = this.#namesake(job);
    if (same !== undefined) return { status: "existing", id: same.id };
    const { priority: _priority, later, ...spec } = job;
    const runAt = later === undefined ? this.now : life.instantOf(later, this.now);
    const holder = this.uniqueKeys.heldBy(spec.unique);
    if (holder !== undefined) return this.#meet(holder.id, job, runAt);
    const id = ++this.#ids;
    const head = life.newHead(job, runAt, this.now);
    const stored = { id, spec, createdAt: this.now, head, seq: ++this.#seq, attempts: [], logs: [] };
    this.jobs.push({ ...stored, ...this.uniqueKeys.inheritance(spec.unique) });
    this.uniqueKeys.take(id, spec.unique);
    this.#lane(spec.queue, spec.name);
    this.tally.add(spec, "enqueued");
    return { status: "created", id };
  }

  /** Another job holds its key. */
  #meet(id: JobId, job: contract.NewJob, runAt: number): contract.EnqueueResult {
    const holder = this.find(id);
    if (holder === undefined || job.unique?.onConflict !== "replace") return { status: "existing", id };
    if (!isReplaceable({ ...holder.spec, state: stateOf(holder) }, job)) return { status: "existing", id };
    const { head, spec: before } = holder;
    const { priority: _priority, later: _later, ...spec } = job;
    const after = replaceHead(head, before.limit, job, runAt, this.now);
    const isMoved = after.state !== head.state || after.priority !== head.priority;
    if (isMoved || !isSameLimit(before.limit, spec.limit)) holder.seq = ++this.#seq;
    holder.spec = before.givenId === undefined ? spec : { ...spec, givenId: before.givenId };
    holder.head = after;
    this.uniqueKeys.take(id, spec.unique);
    this.limitKeys.admit(before.limit);
    return { status: "replaced", id };
  }

  // ── Through ────────────────────────────────────────────────────────────────

  claim(request: contract.ClaimRequest): contract.ClaimResult {
    if (!this.isAlive(request.processId)) return { known: false, jobs: [], asks: [] };
    this.#noteStarts(request.starts);
    const claimed: ModelJob[] = [];
    for (const { queue, names, room, readAhead } of request.queues) {
      let given = 0;
      for (const job of this.claimable(queue, names)) {
        if (given === room + readAhead) break;
        if (job.head.marked && (given >= room || claimed.some((other) => other.head.marked))) continue;
        if (!this.limitKeys.mayRun(job.spec.limit)) {
          job.head = life.promoteHead(job.head, false);
          continue;
        }
        const { processId, token } = request;
        job.held = { token, processId, claimedBy: processId, claimedAt: this.now, started: job.head.marked };
        claimed.push(job);
        given += 1;
      }
    }
    const nextAt = Math.min(this.#due()[0]?.head.runAt ?? Infinity, this.schedules.firstAt ?? Infinity);
    return {
      known: true,
      jobs: claimed.map((job) => this.#claimed(job)),
      ...(nextAt === Infinity ? {} : { nextAt }),
      asks: this.#asks(request.processId),
    };
  }

  /** What a claim may look at, in the order in which it looks. */
  claimable(queue: string, names: readonly string[]): ModelJob[] {
    return this.jobs
      .filter(
        (job) => stateOf(job) === "available" && job.spec.queue === queue && names.includes(job.spec.name),
      )
      .filter((job) => !this.isPaused(job.spec.queue, job.spec.name))
      .toSorted(byPlace);
  }

  settle(settlements: readonly contract.Settlement[]): contract.SettleResult[] {
    return settlements.map((settlement) => {
      const { lease, startedAt } = settlement;
      const job = this.find(lease.id);
      if (job !== undefined && this.wasEndedBy(lease)) return "settled";
      if (job?.held === undefined || !this.stands(lease)) return "stale";
      const facts = { token: lease.token, startedAt, now: this.now };
      const outcome = life.heedAsk(job.head, settlement.outcome);
      const after = life.applyOutcome(job.head, job.spec, outcome, facts);
      if (after.failures > job.head.failures) {
        const entry = life.attemptEntry(job.head, after, job.held.claimedBy, facts);
        job.attempts.push(entry);
        job.attempts = job.attempts.filter((old) => old.number !== life.forgottenAttempt(entry.number));
      }
      if (!life.keepsCheckpoint(outcome.state, job.spec.unique)) job.checkpoint = {};
      if (outcome.state === "scheduled" && after.state === "available") job.seq = ++this.#seq;
      job.endedBy = lease;
      delete job.held;
      this.#become(job, after);
      this.limitKeys.admit(job.spec.limit);
      // Each alone: what is refused is not stored.
      for (const child of settlement.enqueue ?? []) this.enqueueGroup([child]);
      return "settled";
    });
  }

  note(lease: contract.Lease, note: contract.Note): "saved" | "stale" {
    const job = this.find(lease.id);
    if (job === undefined || !this.stands(lease)) return "stale";
    for (const [key, value] of Object.entries(note.checkpoint ?? {})) {
      if (value === null) delete job.checkpoint[key];
      else job.checkpoint[key] = value;
    }
    if (note.result !== undefined) job.head = { ...job.head, result: note.result };
    if (note.progress !== undefined) job.head = { ...job.head, progress: note.progress };
    for (const line of note.log ?? []) {
      const number = (job.logs.at(-1)?.number ?? 0) + 1;
      job.logs = [...job.logs, { ...line, number, attempt: job.head.attempt + 1 }].slice(-limits.logLines);
    }
    return "saved";
  }

  beat(beat: contract.ProcessBeat): contract.BeatResult {
    if (beat.first === true && !this.processes.some((process) => process.beat.id === beat.id)) {
      this.processes.push({ beat, registeredAt: this.now, beatenAt: this.live, left: false });
    }
    const process = this.processes.find((one) => one.beat.id === beat.id);
    const lost = beat.holds.filter((lease) => !this.stands(lease));
    if (process === undefined || !this.isAlive(beat.id)) return { known: false, lost, asks: [] };
    this.#noteStarts(beat.starts);
    [process.beat, process.beatenAt, process.left] = [beat, this.live, beat.leaving === true];
    return { known: true, lost, asks: this.#asks(beat.id) };
  }

  /** Registered, and neither silent for too long nor gone. */
  isAlive(processId: string): boolean {
    const process = this.processes.find((one) => one.beat.id === processId);
    if (process === undefined || process.left) return false;
    return this.live - process.beatenAt <= process.beat.lostAfterMs;
  }

  /** Whether the lease is the one that holds its job now. */
  stands({ id, generation, token }: contract.Lease): boolean {
    const job = this.find(id);
    return job?.held?.token === token && job.head.generation === generation;
  }

  /** Whether the lease is the one that ended its job's last run. */
  wasEndedBy({ id, generation, token }: contract.Lease): boolean {
    const ended = this.find(id)?.endedBy;
    return ended?.token === token && ended.generation === generation;
  }

  #noteStarts(starts: readonly contract.Lease[]): void {
    for (const lease of starts) {
      const job = this.find(lease.id);
      if (job?.held !== undefined && this.stands(lease)) job.held = { ...job.held, started: true };
    }
  }

  #asks(processId: string): contract.Ask[] {
    return this.jobs.flatMap(({ id, head, held }) =>
      held?.processId === processId && head.cancelAsked !== undefined
        ? [{ id, generation: head.generation, reason: head.cancelAsked }]
        : [],
    );
  }

  // ── Upkeep ─────────────────────────────────────────────────────────────────

  #due(): ModelJob[] {
    return this.jobs
      .filter((job) => stateOf(job) === "scheduled")
      .toSorted((a, b) => a.head.runAt - b.head.runAt || a.id - b.id);
  }

  promote(limit: number): contract.Promoted {
    const due = this.#due().filter((job) => job.head.runAt <= this.now);
    for (const job of due.slice(0, limit)) {
      job.head = life.promoteHead(job.head, this.limitKeys.hasRoom(job));
      job.seq = ++this.#seq;
    }
    const [nextAt, tickAt] = [this.#due()[0]?.head.runAt, this.schedules.firstAt];
    return {
      promoted: Math.min(limit, due.length),
      ...(nextAt === undefined ? {} : { nextAt }),
      ...(tickAt === undefined ? {} : { tickAt }),
    };
  }

  /** Jobs whose lease may be rescued. */
  lost(): ModelJob[] {
    return this.jobs.filter((job) => job.held !== undefined && !this.isAlive(job.held.processId));
  }

  /** @param chosen the lost jobs that the engine took */
  rescue(
    { processId, token }: contract.RescueRequest,
    chosen: readonly ModelJob[],
  ): Omit<contract.RescuedJob, "startedAt">[] {
    return chosen.map((job) => {
      const { started, claimedBy } = job.held as Held;
      job.held = { ...(job.held as Held), token, processId };
      return { ...this.#claimed(job), lostProcessId: claimedBy, started };
    });
  }

  /** Finished jobs whose time to be kept is over. */
  expired(): ModelJob[] {
    return this.jobs.filter(({ head }) => isFinal(head.state) && (head.expiresAt ?? Infinity) <= this.now);
  }

  /** @param byHand whether an operator did, which frees a key that time holds */
  remove(gone: readonly ModelJob[], byHand: boolean = false): void {
    this.jobs = this.jobs.filter((job) => !gone.includes(job));
    for (const job of gone) {
      this.uniqueKeys.gone(job, byHand);
      this.limitKeys.admit(job.spec.limit);
    }
  }

  // ── Steer ──────────────────────────────────────────────────────────────────

  change(ids: readonly JobId[], change: Change): ChangeResult[] {
    return ids.map((id) => {
      const job = this.find(id);
      if (job === undefined) return "missing";
      const isRunning = job.held !== undefined;
      const { result, head, remove } = changeHead(job.head, isRunning, job.spec, change, this.now);
      if (remove === true) this.remove([job], true);
      if (head === undefined) return result;
      const runsAgain = change.kind === "retry" && isFinal(job.head.state);
      if (runsAgain && !this.uniqueKeys.takeBack(job)) return "conflict";
      if (head.state !== job.head.state || head.priority !== job.head.priority) job.seq = ++this.#seq;
      // Whoever cancels a job, it will not go on where it was.
      if (head.state === "cancelled" && !life.keepsCheckpoint("cancelled", job.spec.unique))
        job.checkpoint = {};
      this.#become(job, head);
      this.limitKeys.admit(job.spec.limit);
      return result;
    });
  }

  configure({ queue, name }: contract.LaneTarget, { paused }: contract.LaneSettings): void {
    if (paused === undefined) return;
    if (name === undefined) this.pausedQueues[paused ? "add" : "delete"](queue);
    else this.#lane(queue, name).paused = paused;
  }

  find(id: JobId): ModelJob | undefined {
    return this.jobs.find((job) => job.id === id);
  }

  #become(job: ModelJob, head: JobHead): void {
    job.head = head;
    if (!isFinal(head.state)) return;
    this.tally.add(job.spec, head.state);
    this.uniqueKeys.ended(job);
    if (head.expiresAt !== undefined && head.expiresAt <= this.now) this.remove([job]);
  }

  #claimed(job: ModelJob): contract.ClaimedJob {
    const { id, spec, createdAt, checkpoint, held } = job;
    const { generation, priority, attempt, runAt, marked, cancelAsked } = job.head;
    return {
      ...spec,
      ...{ id, generation, token: held?.token ?? "", priority, attempt, createdAt, runAt, marked },
      ...(Object.keys(checkpoint).length === 0 ? {} : { checkpoint: { ...checkpoint } }),
      ...(cancelAsked === undefined ? {} : { cancelAsked }),
    };
  }

  #lane(queue: string, name: string): { paused: boolean } {
    const known = this.lanes.find((lane) => lane.queue === queue && lane.name === name);
    if (known !== undefined) return known;
    const lane = { queue, name, paused: false };
    this.lanes.push(lane);
    return lane;
  }

  isPaused(queue: string, name: string): boolean {
    return (
      this.pausedQueues.has(queue) ||
      this.lanes.some((lane) => lane.queue === queue && lane.name === name && lane.paused)
    );
  }
}

function isNamesake(a: JobSpec, b: JobSpec): boolean {
  return a.givenId !== undefined && a.givenId === b.givenId && a.name === b.name;
}
