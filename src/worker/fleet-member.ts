import type { WorkerEmitter } from "./emitter.ts";
import { Membership } from "./membership.ts";
import type { Pipeline } from "./pipeline.ts";
import type { Timers } from "./timers.ts";
import { RETRY_MS_FIRST, type Trouble } from "./trouble.ts";
import type { WorkerDeps } from "./worker-deps.ts";

/** What makes a worker a member of the fleet. */
export interface FleetMemberDeps {
  readonly deps: WorkerDeps;
  readonly name: string | undefined;
  readonly declares: readonly string[];
  readonly emitter: WorkerEmitter;
  readonly trouble: Trouble;
  readonly timers: Timers;
  phase(): "new" | "started" | "stopping" | "stopped";
  /** Made later than its membership, since it asks for that. */
  pipeline(): Pipeline;
  rejoined(): void;
}

/** The membership of a worker: it shows what the worker's pipeline holds, and tells it what no longer stands. */
export function fleetMember(member: FleetMemberDeps): Membership {
  const { deps, name, declares, emitter, trouble, timers, phase, pipeline, rejoined } = member;
  const { storage, beatEveryMs, lostAfterMs, logger } = deps;
  return new Membership({
    ...{ storage, beatEveryMs, lostAfterMs, trouble, name, declares, rejoined },
    served: () => pipeline().slots.served(),
    held: () => pipeline().held(),
    reported: (starts) => pipeline().slots.reported(starts),
    asks: (asks) => pipeline().slots.asked(asks),
    lost: (leases) => pipeline().slots.lost(leases),
    registered: (processId) =>
      void emitter.emit("registered", { processId, queues: pipeline().slots.served() }),
    fenced: (processId) => {
      const aborted = pipeline().forsake();
      const goesOn = phase() === "started";
      emitter.emit("fenced", { processId, aborted });
      logger.error(
        `process ${processId} was not heard for too long: ${aborted} runs were aborted, ` +
          (goesOn ? "registering anew" : "and the worker stops"),
        { processId, aborted },
      );
      return goesOn;
    },
    toldAll: () => Promise.race([pipeline().allSettled(), timers.after(RETRY_MS_FIRST)]),
    goesOn: () => phase() === "started" || phase() === "stopping",
  });
}
