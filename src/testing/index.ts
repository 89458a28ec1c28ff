// For tests: of applications that use jobwright, and of engines that implement its storage contract.

export { TestClock } from "./test-clock.ts";
export { runUntilIdle } from "./run-until-idle.ts";
export {
  perform,
  type PerformArguments,
  type Performed,
  type PerformedOutcome,
  type PerformedRun,
  type PerformOptions,
  type PerformSettings,
} from "./perform.ts";
export {
  assertEnqueued,
  type AssertEnqueuedOptions,
  type EnqueuedOptions,
  refuteEnqueued,
} from "./assert-enqueued.ts";
export { type PartialPayload } from "./partial-match.ts";
export { faulty, type Faults, type FaultyStorage } from "./faulty.ts";
export { type FaultCall, type FaultKind, type FaultPlan, type RandomFaults } from "./fault-plan.ts";
export {
  type CreateStorage,
  storageSuite,
  type StorageSuiteOptions,
  type SuiteFramework,
} from "./storage-suite/index.ts";
