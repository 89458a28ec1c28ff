// Goal: ZeroMQ carries the storage contract as the WebSocket does: the same suite, the same cases, the same errors.
// In the short run every fourth case over the engine that costs least, and every eighth over the other: what the frames
// hold is the same for both transports.
import { describe, it } from "vitest";
import { storageSuite } from "../../src/testing/storage-suite/index.ts";
import { isLong } from "../support/size.ts";
import { everyEighth, everyFourth } from "./support/every-fourth.ts";
import { zmqStorages } from "./zmq-stage.ts";

for (const { label, create, cleanup } of zmqStorages) {
  const some = label.endsWith("memory") ? everyFourth : everyEighth;
  storageSuite(label, create, isLong ? { describe, it } : some({ describe, it }), { cleanUp: cleanup });
}
