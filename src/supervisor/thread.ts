// The entry of a thread that a Supervisor starts. It is run, never imported.

import { MessageChannel, parentPort, workerData } from "node:worker_threads";
import { RemoteStorage } from "../storage/remote/index.ts";
import type { Storage } from "../storage/storage.ts";
import { portChannel } from "../wire/port-channel.ts";
import { Duty } from "./duty.ts";
import { type Assignment, isOurs, type ToChild, type ToParent } from "./message.ts";

/** After an orderly stop the thread should end by itself; this much later it is ended. */
const END_MS = 300;

const supervisor = parentPort as NonNullable<typeof parentPort>;
const tell = (message: ToParent): void => {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread is no window
  supervisor.postMessage(message);
};
const assignment = workerData as Assignment;

const duty = new Duty({
  tell,
  fail: (last) => {
    tell(last);
    process.exit(1);
  },
});

/** The storage of the main thread, which alone may open it. */
function mainStorage(): Storage {
  const { label } = assignment;
  return new RemoteStorage({
    url: label,
    dial: {
      label,
      connect: async () => {
        const { port1, port2 } = new MessageChannel();
        supervisor.postMessage({ jobwright: "dial", port: port2 } satisfies ToParent, [port2]);
        return portChannel(port1);
      },
    },
  });
}

supervisor.on("message", (message: unknown) => {
  if (!isOurs<ToChild>(message) || message.jobwright !== "stop") return;
  void duty.stop(message.timeoutMs).then(() => {
    process.exitCode ??= 0;
    supervisor.close();
    setTimeout(() => process.exit(), END_MS).unref();
  });
});
process.on("uncaughtException", (error) => duty.fail(error));
process.on("unhandledRejection", (error) => duty.fail(error));
duty.begin(assignment, assignment.url ?? mainStorage());
