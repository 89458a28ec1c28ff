// Goal: ZeroMQ carries the storage contract as the WebSocket does: the same suite, the same cases, the same errors.
// Memory alone in the short run: the engine behind makes no difference to what a transport carries.
import { describe, it } from "vitest";
import { storageSuite } from "../../src/testing/storage-suite/index.ts";
import { isLong } from "../support/size.ts";
import { zmqStorages } from "./zmq-stage.ts";

for (const { label, create, cleanup } of zmqStorages) {
  if (!isLong && label.endsWith("lmdb")) continue;
  storageSuite(label, create, { describe, it }, { cleanUp: cleanup });
}
