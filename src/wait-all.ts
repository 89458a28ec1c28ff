import { type Duration, toMs } from "./duration.ts";
import { InvalidOptionError } from "./errors.ts";
import { JobHandle } from "./handle.ts";
import type { JobError } from "./job/job.ts";
import type { StoredJob } from "./storage/storage.ts";
import { toJobId } from "./view.ts";
import type { Waiter } from "./waiter.ts";

/** How a job ended. */
export type JobEnd<Result = unknown> =
  | { readonly id: string; readonly state: "completed"; readonly result: Result }
  | { readonly id: string; readonly state: "dead"; readonly error: JobError }
  | { readonly id: string; readonly state: "cancelled"; readonly reason: string }
  /** It is not in the storage: it never was, or it ended and its retention is over. */
  | { readonly id: string; readonly state: "gone" };

/** The ends of the jobs of some handles, in their order. */
export type JobEnds<H extends readonly JobHandle[]> = {
  -readonly [I in keyof H]: H[I] extends JobHandle<infer Result> ? JobEnd<Result> : never;
};

/** A `setTimeout` beyond this would fire at once. */
const WAIT_MS_MAX = 2_147_483_647;

/** Wait until all have ended; the first failure to wait ends the waiting for the others. */
export async function waitAll<const H extends readonly JobHandle[]>(
  waiter: Waiter,
  handles: H,
  options: { readonly timeout: Duration; readonly signal?: AbortSignal },
): Promise<JobEnds<H>> {
  const timeoutMs = toMs(options?.timeout, "timeout", { min: 1, max: WAIT_MS_MAX });
  if (!Array.isArray(handles) || handles.some((one) => !(one instanceof JobHandle))) {
    throw new InvalidOptionError("handles", handles, "Use an array of what enqueue() and handle() answer.");
  }
  const given = options.signal;
  if (given !== undefined && typeof given?.addEventListener !== "function") {
    throw new InvalidOptionError("signal", given, "Use an AbortSignal.");
  }
  const ids = handles.map(({ id }: JobHandle) => toJobId(id));
  const jobs = await waiter.allFinished(ids, timeoutMs, given);
  return handles.map(({ id }: JobHandle, index) => endOf(id, jobs[index])) as JobEnds<H>;
}

function endOf(id: string, job: StoredJob | undefined): JobEnd {
  switch (job?.state) {
    case "completed":
      return {
        id,
        state: "completed",
        result: job.result === undefined ? undefined : JSON.parse(job.result),
      };
    case "dead":
      return { id, state: "dead", error: job.error ?? { name: "Error", message: "unknown" } };
    case "cancelled":
      return { id, state: "cancelled", reason: job.reason ?? "no reason given" };
    default:
      return { id, state: "gone" };
  }
}
