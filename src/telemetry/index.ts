export type { Observer } from "../observer.ts";
export { telemetry, type TelemetryOptions } from "./telemetry.ts";
export { type MetricsSink, prometheusSink, type StorageCall, withMetrics } from "./with-metrics.ts";
export { attributeNames, metricNames, spanNames } from "./names.ts";
