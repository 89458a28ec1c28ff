import { expect, it } from "vitest";
import { silentLogger } from "../logger.ts";
import type { ChildHandleEvents } from "./child-handle.ts";
import { SupervisorEmitter } from "./events.ts";
import type { ToChild } from "./message.ts";
import { Place } from "./place.ts";

// Guards: a stop that came while a failed start was ending its children left that start pending for ever.
it("two stops of a place end with its child", async () => {
  let child: ChildHandleEvents | undefined;
  const told: ToChild[] = [];
  const place = new Place({
    number: 1,
    kind: "process",
    restart: { firstMs: 1, maxMs: 1 },
    logger: silentLogger,
    events: new SupervisorEmitter(silentLogger),
    random: () => 0,
    launch: (events) => {
      child = events;
      return { id: 1, tell: (message) => void told.push(message), kill: () => undefined };
    },
    dialed: () => undefined,
    died: () => undefined,
  });
  place.start();
  const stops = [place.stop(1_000, 60_000), place.stop(0, 60_000)];
  child?.exited(0, null);
  await Promise.all(stops);
  expect(place.child.state).toBe("stopped");
  expect(told).toEqual([
    { jobwright: "stop", timeoutMs: 1_000 },
    { jobwright: "stop", timeoutMs: 0 },
  ]);
});
