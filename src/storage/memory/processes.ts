import type { Ask, ProcessBeat, ProcessId, ProcessInfo } from "../storage.ts";
import type { KeptJob } from "./kept-job.ts";

/** A registered process and the jobs it holds, oldest claim first. */
export class HoldingProcess {
  readonly id: ProcessId;
  readonly registeredAt: number;
  beat: BeatFacts;
  lastBeat: number;
  leaving = false;
  first: KeptJob | null = null;
  #last: KeptJob | null = null;
  running = 0;
  /** Held jobs that someone asked to cancel. */
  readonly asked: Set<KeptJob> = new Set();

  constructor(beat: ProcessBeat, now: number, lastBeat: number) {
    this.id = beat.id;
    this.registeredAt = now;
    this.beat = factsOf(beat);
    this.lastBeat = lastBeat;
  }

  isLost(alive: number): boolean {
    return this.leaving || alive - this.lastBeat > this.beat.lostAfterMs;
  }

  hold(job: KeptJob, token: string): void {
    job.holder = this;
    job.token = token;
    job.heldBefore = this.#last;
    job.heldAfter = null;
    if (this.#last === null) this.first = job;
    else this.#last.heldAfter = job;
    this.#last = job;
    this.running++;
    if (job.head.cancelAsked !== undefined) this.asked.add(job);
  }

  letGo(job: KeptJob): void {
    if (job.heldBefore === null) this.first = job.heldAfter;
    else job.heldBefore.heldAfter = job.heldAfter;
    if (job.heldAfter === null) this.#last = job.heldBefore;
    else job.heldAfter.heldBefore = job.heldBefore;
    job.heldBefore = null;
    job.heldAfter = null;
    job.holder = null;
    job.token = "";
    this.running--;
    if (job.head.cancelAsked !== undefined) this.asked.delete(job);
  }

  asks(): Ask[] {
    if (this.asked.size === 0) return [];
    return Array.from(this.asked, ({ id, head }) => ({
      id,
      generation: head.generation,
      reason: head.cancelAsked as string,
    }));
  }
}

/** What a beat says about its process: all of it but the leases. */
type BeatFacts = Omit<ProcessBeat, "holds" | "starts" | "first" | "leaving">;

function factsOf(beat: ProcessBeat): BeatFacts {
  const { holds: _holds, starts: _starts, first: _first, leaving: _leaving, ...facts } = beat;
  return facts;
}

/** The processes that beat, or that are lost and not yet forgotten. */
export class Processes {
  readonly #processes = new Map<ProcessId, HoldingProcess>();

  /** The process, if it is registered and not lost. */
  living(id: ProcessId, alive: number): HoldingProcess | undefined {
    const process = this.#processes.get(id);
    return process === undefined || process.isLost(alive) ? undefined : process;
  }

  all(): Iterable<HoldingProcess> {
    return this.#processes.values();
  }

  /**
   * A beat, registering the process when it is its first.
   *
   * @returns the process, or `undefined` when it is not registered, or lost: it may not come back to
   * life, because others may have decided about its jobs by now
   */
  beat(beat: ProcessBeat, now: number, alive: number): HoldingProcess | undefined {
    const known = this.#processes.get(beat.id);
    if (known !== undefined) {
      if (known.isLost(alive)) return undefined;
      known.beat = factsOf(beat);
      known.lastBeat = alive;
      return known;
    }
    if (beat.first !== true) return undefined;
    const process = new HoldingProcess(beat, now, alive);
    this.#processes.set(beat.id, process);
    return process;
  }

  /** From now on it is lost; with nothing in its hands it is forgotten at once. */
  leave(process: HoldingProcess): void {
    process.leaving = true;
    this.forgetIfEmpty(process);
  }

  forgetIfEmpty(process: HoldingProcess): void {
    if (process.running === 0) this.#processes.delete(process.id);
  }

  infos(alive: number): ProcessInfo[] {
    return Array.from(this.#processes.values(), (process) => ({
      ...process.beat,
      registeredAt: process.registeredAt,
      silentMs: Math.max(0, alive - process.lastBeat),
      lost: process.isLost(alive),
      running: process.running,
    }));
  }
}
