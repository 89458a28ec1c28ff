export { Supervisor } from "./supervisor.ts";
export type { SharedConnectOptions, SupervisorOptions } from "./options.ts";
export type { ChildEnd, ChildState, SupervisedChild, SupervisorEvents } from "./events.ts";
export { loadWorkerModules, type WorkerModules } from "./load-modules.ts";
