/** The values of the storage contract as they cross the wire, one file for each of its sections. */
export { ids, jobId, limit, name, token } from "./value/basic.ts";
export { definitions, groupResults, groups } from "./value/enqueue.ts";
export {
  beat,
  beatResult,
  claimRequest,
  claimResult,
  exchanged,
  interest,
  lease,
  note,
  rescued,
  rescueRequest,
  saved,
  settlements,
  settleResults,
} from "./value/run.ts";
export {
  dueSchedules,
  promoted,
  pruned,
  scheduleResults,
  schedules,
  scheduleWrites,
} from "./value/upkeep.ts";
export {
  attemptEntries,
  counted,
  countQuery,
  jobs,
  keyPage,
  keyQuery,
  lanes,
  listQuery,
  logEntries,
  lookedIds,
  page,
  processes,
  stats,
  statsQuery,
} from "./value/look.ts";
export { change, changeResults, laneSettings, laneTarget } from "./value/steer.ts";
