import type { LaneInfo } from "../storage/storage.ts";
import type { WorkerEvents } from "./events.ts";
import type { Handled, NeglectDeps } from "./neglect.ts";

/** How often one worker looks how long jobs have been waiting. */
const LOOK_EVERY_MS = 60_000;
/** Lanes it asks about in one look; the others have their turn in the next ones. */
const LANES_MAX = 20;

type Stuck = WorkerEvents["stuck"][0];

/** Why available jobs are not taken, in words. */
const REASONS: Readonly<Record<Stuck["why"], string>> = {
  paused: "it is paused",
  unserved: "no process serves the queue",
  unhandled: "no process handles the name",
  busy: "those who serve it are busy with other jobs",
};

/**
 * Tells of lanes whose first job has been available for too long: once each, and again when they had recovered in
 * between. A lane is the business of those who serve it; where nobody does, of everybody.
 */
export class StuckReport {
  readonly #deps: NeglectDeps;
  readonly #now: () => number;
  readonly #told = new Set<string>();
  #lookedAt = Number.NEGATIVE_INFINITY;
  #first = 0;

  /** @param now a clock that is never set */
  constructor(deps: NeglectDeps, now: () => number = () => performance.now()) {
    this.#deps = deps;
    this.#now = now;
  }

  /** Called more often than it looks. */
  async look(lanes: readonly LaneInfo[], handled: Handled): Promise<void> {
    const now = this.#now();
    if (this.#deps.stuckAfterMs === Number.POSITIVE_INFINITY || now - this.#lookedAt < LOOK_EVERY_MS) return;
    this.#lookedAt = now;
    const waiting = lanes.filter(({ counts }) => counts.available > 0);
    const keys = new Set(waiting.map(keyOf));
    for (const key of this.#told) if (!keys.has(key)) this.#told.delete(key);
    const ours = waiting.filter((lane) => this.#isOurs(lane, handled));
    const first = ours.length === 0 ? 0 : this.#first % ours.length;
    const some = [...ours.slice(first), ...ours.slice(0, first)].slice(0, LANES_MAX);
    this.#first = first + some.length;
    await Promise.all(some.map((lane) => this.#judge(lane, whyOf(lane, handled))));
  }

  #isOurs({ queue, name }: LaneInfo, handled: Handled): boolean {
    const names = handled.get(queue);
    if (names === undefined || this.#deps.serves(queue, name)) return true;
    return this.#deps.serves(queue) && !names.has(name);
  }

  async #judge(lane: LaneInfo, why: Stuck["why"]): Promise<void> {
    const { storage, stuckAfterMs } = this.#deps;
    const { queue, name, counts } = lane;
    const { jobs } = await storage.list({ state: "available", queue, name, limit: 1 });
    const [job] = jobs;
    const waitedMs = job === undefined ? 0 : storage.clock.now() - job.runAt;
    const key = keyOf(lane);
    if (job === undefined || waitedMs < stuckAfterMs) {
      this.#told.delete(key);
    } else if (!this.#told.has(key)) {
      this.#told.add(key);
      this.#tell({ queue, name, id: String(job.id), waiting: counts.available, waitedMs, why });
    }
  }

  #tell(about: Stuck): void {
    const { queue, name, id, waiting, waitedMs, why } = about;
    this.#deps.emitter.emit("stuck", about);
    this.#deps.logger.warn(
      `job ${id} ${JSON.stringify(name)} has been ready in queue "${queue}" for ${Math.round(waitedMs / 1_000)} s ` +
        `and is not taken (${REASONS[why]}); ${waiting} such jobs wait`,
      { job: id, name, queue },
    );
  }
}

function keyOf({ queue, name }: LaneInfo): string {
  return JSON.stringify([queue, name]);
}

function whyOf({ queue, name, paused }: LaneInfo, handled: Handled): Stuck["why"] {
  if (paused) return "paused";
  const names = handled.get(queue);
  if (names === undefined) return "unserved";
  return names.has(name) ? "busy" : "unhandled";
}
