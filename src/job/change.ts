import { recorded } from "./history.ts";
import { isSameLimit } from "./key.ts";
import { isFinal, type JobHead, type JobSpec } from "./job.ts";
import { instantOf, stateAt } from "./lifecycle.ts";
import type { Later } from "./outcome.ts";

/** What an operator may do to a job. */
export type Change =
  | { readonly kind: "cancel"; readonly reason: string }
  | { readonly kind: "retry" }
  | { readonly kind: "remove" }
  | { readonly kind: "runAt"; readonly later: Later }
  | { readonly kind: "priority"; readonly priority: number };

export type ChangeResult =
  /** Done. */
  | "changed"
  /** The job runs: its handler is asked to end. */
  | "asked"
  /** The job's state leaves nothing to do, or does not allow it. */
  | "unchanged"
  /** Another job holds its unique key by now. */
  | "conflict"
  | "missing";

/**
 * What an operator's change makes of a job: its new head, `"remove"`, or nothing with the reason.
 * A head that becomes available, or changes its priority, takes a new place in the line.
 */
export function changeHead(
  head: JobHead,
  isRunning: boolean,
  { retention, limit }: Pick<JobSpec, "retention" | "limit">,
  change: Change,
  now: number,
): { readonly result: ChangeResult; readonly head?: JobHead; readonly remove?: true } {
  const finished = isFinal(head.state);
  switch (change.kind) {
    case "cancel": {
      if (finished) return { result: "unchanged" };
      if (isRunning) {
        return head.cancelAsked === undefined
          ? {
              result: "asked",
              head: {
                ...head,
                ...recorded(head, { at: now, kind: "cancel-asked", reason: change.reason }),
                cancelAsked: change.reason,
              },
            }
          : { result: "asked" };
      }
      const cancelled: JobHead = { ...head, state: "cancelled", reason: change.reason, endedAt: now };
      const keepMs = retention.cancelledMs;
      return {
        result: "changed",
        head: keepMs === null ? cancelled : { ...cancelled, expiresAt: now + keepMs },
      };
    }
    case "retry": {
      if (isRunning || head.state === "available" || head.state === "blocked") return { result: "unchanged" };
      const retried = recorded(head, { at: now, kind: "retried" });
      if (head.state === "scheduled") {
        // Due already: it would only lose its turn.
        if (limit !== undefined && head.runAt <= now) return { result: "unchanged" };
        return {
          result: "changed",
          head: { ...head, ...retried, state: stateAt(limit, now, now), runAt: now },
        };
      }
      const { endedAt: _e, expiresAt: _x, reason: _r, result: _v, progress: _p, ...base } = head;
      return {
        result: "changed",
        head: {
          ...base,
          ...retried,
          state: stateAt(limit, now, now),
          runAt: now,
          attempt: 0,
          marked: false,
          generation: head.generation + 1,
        },
      };
    }
    case "remove":
      return isRunning ? { result: "unchanged" } : { result: "changed", remove: true };
    case "runAt": {
      if (finished || isRunning) return { result: "unchanged" };
      const runAt = instantOf(change.later, now);
      const moved = recorded(head, { at: now, kind: "rescheduled-by-hand", runAt });
      if (runAt > now) return { result: "changed", head: { ...head, ...moved, state: "scheduled", runAt } };
      // Already in line: an earlier start must not cost the job its place.
      if (head.state !== "scheduled") return { result: "unchanged" };
      return { result: "changed", head: { ...head, ...moved, state: stateAt(limit, runAt, now), runAt } };
    }
    case "priority":
      if (finished || isRunning || head.priority === change.priority) return { result: "unchanged" };
      return {
        result: "changed",
        head: { ...head, ...recorded(head, { at: now, kind: "reprioritised" }), priority: change.priority },
      };
  }
}

/**
 * What a job that waits becomes when a new one with its unique key replaces it: it starts when the new one would,
 * with its priority, and counts anew. It keeps its place in line where nothing moves it: newest words that come fast
 * must not push it back for ever. Its payload and other options are the new one's too.
 *
 * @param limit the limit key that it had
 */
export function replaceHead(
  head: JobHead,
  limit: JobSpec["limit"],
  by: { readonly priority: number; readonly limit?: JobSpec["limit"] },
  runAt: number,
  now: number,
): JobHead {
  // Into another limit key by promotion only, which counts it there.
  const isInLine = head.state !== "scheduled" && runAt <= now && isSameLimit(limit, by.limit);
  const { error: _error, ...rest } = head;
  return {
    ...rest,
    ...recorded(head, { at: now, kind: "replaced" }),
    state: isInLine ? head.state : stateAt(by.limit, runAt, now),
    runAt: isInLine ? head.runAt : runAt,
    priority: by.priority,
    attempt: 0,
  };
}
