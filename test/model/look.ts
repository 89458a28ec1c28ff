import type { JobState } from "../../src/job/job.ts";
import { isFinal, JOB_STATES } from "../../src/job/job.ts";
import type { CountQuery, LaneInfo, ListQuery, ProcessInfo, StoredJob } from "../../src/storage/storage.ts";
import type { Model } from "./model.ts";
import { type ModelJob, stateOf } from "./model-job.ts";

/** What the reading side of the contract shows of a model. */
export function storedJob(job: ModelJob): StoredJob {
  const { settledBy: _token, ...head } = job.head;
  const { id, createdAt, spec, held } = job;
  const stored = { ...spec, ...head, id, createdAt, state: stateOf(job) };
  return held === undefined ? stored : { ...stored, processId: held.processId };
}

/** All pages of a listing. Ends of one millisecond have no order of their own: they stand by id. */
export function listed(model: Model, query: Omit<ListQuery, "limit" | "after">): ModelJob[] {
  const { state, tag } = query;
  const order = (a: ModelJob, b: ModelJob): number => {
    if (state === "available") return a.seq - b.seq;
    if (state === "scheduled") return a.head.runAt - b.head.runAt || a.id - b.id;
    if (isFinal(state)) return (b.head.endedAt ?? 0) - (a.head.endedAt ?? 0) || a.id - b.id;
    return a.id - b.id;
  };
  return select(model, query)
    .filter((job) => tag === undefined || job.spec.tags.includes(tag))
    .toSorted(order);
}

export function counted(model: Model, query: CountQuery): number {
  return select(model, query).length;
}

export function laneInfos(model: Model): { lanes: LaneInfo[]; pausedQueues: string[] } {
  const lanes = model.lanes.map(({ queue, name }): LaneInfo => {
    const counts = JOB_STATES.map((state) => [state, counted(model, { state, queue, name })]);
    const byState = Object.fromEntries(counts) as Record<JobState, number>;
    return { queue, name, paused: model.isPaused(queue, name), counts: byState };
  });
  const key = (lane: LaneInfo): string => `${lane.queue} ${lane.name}`;
  return {
    lanes: lanes.toSorted((a, b) => (key(a) < key(b) ? -1 : 1)),
    pausedQueues: [...model.pausedQueues].toSorted(),
  };
}

/** The processes that must be listed: one that is lost and holds nothing may be forgotten at any time. */
export function processInfos(model: Model): ProcessInfo[] {
  return model.processes.flatMap(({ beat, registeredAt, beatenAt }) => {
    const { holds: _h, starts: _s, first: _f, leaving: _l, ...facts } = beat;
    const running = model.jobs.filter((job) => job.held?.processId === beat.id).length;
    const lost = !model.isAlive(beat.id);
    if (lost && running === 0) return [];
    return [{ ...facts, registeredAt, silentMs: model.live - beatenAt, lost, running }];
  });
}

function select(model: Model, { state, queue, name }: CountQuery): ModelJob[] {
  return model.jobs.filter(
    (job) =>
      (state === undefined || stateOf(job) === state) &&
      (queue === undefined || job.spec.queue === queue) &&
      (name === undefined || job.spec.name === name),
  );
}
