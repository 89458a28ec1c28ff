// For tests: of applications that use jobwright, and of engines that implement its storage contract.

export { TestClock } from "./test-clock.ts";
export { runUntilIdle } from "./run-until-idle.ts";
