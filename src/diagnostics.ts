import { type Channel, channel } from "node:diagnostics_channel";

/**
 * The channels of `node:diagnostics_channel` on which jobwright tells what happens. Their names and what their messages
 * hold are listed in docs/telemetry.md; payloads and results never cross them. Without a subscriber nothing is made.
 */
export const channels: Readonly<Record<"enqueue" | "runStart" | "runEnd" | "runError", Channel>> = {
  /** A call of `enqueue` or `enqueueMany` was stored. */
  enqueue: channel("jobwright:enqueue"),
  /** A handler is about to start. */
  runStart: channel("jobwright:run:start"),
  /** A run has ended, however it did. */
  runEnd: channel("jobwright:run:end"),
  /** An attempt has failed; `jobwright:run:end` follows. */
  runError: channel("jobwright:run:error"),
};
