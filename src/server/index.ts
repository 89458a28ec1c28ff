export type { AccessToken } from "./access.ts";
export { JobServer, type JobServerOptions } from "./job-server.ts";
export type { Scope } from "../wire/methods.ts";
export { curveKeyPair, type CurveKeyPair } from "../wire/zmq/keys.ts";
export type { ZmqOptions } from "./zmq-options.ts";
