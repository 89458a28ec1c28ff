import type { Change, ChangeResult } from "../../job/change.ts";
import type { LaneSettings, LaneTarget } from "../../storage/storage.ts";
import { wireLimits } from "../limits.ts";
import { boolean, list, type ListShape, literal, oneOf, record, type Shape, variants } from "../shape.ts";
import { later, name, priority, reason } from "./basic.ts";

/** What an operator does. */

export const change: Shape<Change> = variants<Change, "kind">("kind", {
  cancel: record({ needs: { kind: literal("cancel"), reason }, may: {} }),
  retry: record({ needs: { kind: literal("retry") }, may: {} }),
  remove: record({ needs: { kind: literal("remove") }, may: {} }),
  runAt: record({ needs: { kind: literal("runAt"), later }, may: {} }),
  priority: record({ needs: { kind: literal("priority"), priority }, may: {} }),
});
export const changeResults: ListShape<ChangeResult> = list(
  oneOf("changed", "asked", "unchanged", "conflict", "missing"),
  wireLimits.entries,
);
export const laneTarget: Shape<LaneTarget> = record({ needs: { queue: name }, may: { name } });
export const laneSettings: Shape<LaneSettings> = record({ needs: {}, may: { paused: boolean } });
