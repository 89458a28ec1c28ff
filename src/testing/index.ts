// For tests: of applications that use jobwright, and of engines that implement its storage contract.

export { TestClock } from "./test-clock.ts";
export { runUntilIdle } from "./run-until-idle.ts";
export {
  type CreateStorage,
  storageSuite,
  type StorageSuiteOptions,
  type SuiteFramework,
} from "./storage-suite/index.ts";
