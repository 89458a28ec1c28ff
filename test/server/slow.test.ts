import { describe, expect, it } from "vitest";
import { silentLogger } from "../../src/logger.ts";
import { Access } from "../../src/server/access.ts";
import { Counters } from "../../src/server/counters.ts";
import { Session } from "../../src/server/session.ts";
import { MemoryStorage } from "../../src/storage/memory/index.ts";
import { joinFrame, packMessage, unpackFrame } from "../../src/wire/frame.ts";
import { wireLimits } from "../../src/wire/limits.ts";
import { packArgs } from "../../src/wire/message.ts";
import { gate, turns, until } from "../support/world.ts";
import { newJob } from "./support/job.ts";
import { keepingLogger } from "./support/lines.ts";
import { usedMiB } from "./support/memory.ts";
import { RawClient } from "./support/raw-client.ts";
import { serving } from "./support/serving.ts";

// Goal: who asks for much and does not read it costs the server a bounded piece of memory for a bounded time.

const MIB = 1_048_576;
/** Answers that wait to be read, beyond which no large one is begun; four of these; and room to pack them. */
const HELD_MIB = 16 + 4 * 8 + 48;

describe("a client that asks for much at once", () => {
  it("is refused what is more than an answer may hold, and ours asks for it in parts", async () => {
    await using stage = await serving();
    const [group] = await stage.behind.enqueue([
      Array.from({ length: 100 }, (_, n) => newJob({ payload: `${n}` })),
    ]);
    const ids = group?.ok ? group.jobs.map(({ id }) => id) : [];
    await using raw = await RawClient.greeted(stage.server.url);
    await raw.next();
    raw.send(["call", 1, "get", [Array.from({ length: 33 }, () => ids[0])]]);
    expect(await raw.next()).toMatchObject(["failure", 1, { message: "get(0) has more than 32 entries." }]);
    const client = await stage.client();
    const found = await client.get([...ids, -1]);
    expect(found.map((job) => job?.payload)).toEqual([...ids.map((_, n) => `${n}`), undefined]);
    expect(await client.get([])).toEqual([]);
  });
});

describe("a client that does not read", () => {
  it.each([
    ["in one frame", 256],
    ["in a frame each", 1],
  ])("its answers, asked for %s, holds little memory, and is cut off", async (_how, perFrame) => {
    const storage = new MemoryStorage();
    const { logger, lines } = keepingLogger();
    await using stage = await serving({ storage, logger, heartbeat: "100ms" });
    const groups = await storage.enqueue([
      Array.from({ length: 8 }, () => newJob({ payload: `"${"x".repeat(MIB - 2)}"` })),
    ]);
    const ids = groups.flatMap((group) => (group.ok ? group.jobs.map(({ id }) => id) : []));
    const good = await stage.client();
    const before = usedMiB();
    const left: number[] = [];
    for (let round = 0; round < 2; round += 1) {
      const { most, longestMs } = await readNothing();
      process.stderr.write(
        `a slow reader: memory +${most.toFixed(0)} MiB, others' longest call ${longestMs.toFixed(0)} ms\n`,
      );
      expect(most).toBeLessThan(HELD_MIB);
      left.push(usedMiB() - before);
    }
    // The packer keeps its room for the next one; nothing else stays.
    expect((left[1] as number) - (left[0] as number)).toBeLessThan(8);
    expect(await good.count({})).toEqual({ n: 8, exact: true });

    async function readNothing(): Promise<{ most: number; longestMs: number }> {
      await using slow = await RawClient.greeted(stage.server.url);
      await slow.next();
      lines.length = 0;
      slow.socket.pause();
      // Two gigabytes of answers: as many calls as one connection may make at once.
      const calls = Array.from(
        { length: 256 },
        (_, id) => ["call", id, "get", packArgs("get", [ids])] as const,
      );
      for (let at = 0; at < calls.length; at += perFrame) slow.send(...calls.slice(at, at + perFrame));
      let most = 0;
      let longestMs = 0;
      while (!lines.some((line) => line.includes("does not read its answers"))) {
        const began = performance.now();
        await good.count({});
        longestMs = Math.max(longestMs, performance.now() - began);
        most = Math.max(most, usedMiB() - before);
      }
      return { most, longestMs };
    }
  });
});

// Guards: nobody looked after time during a stop, so calls that waited for their client to read were never answered.
it("a stop answers the calls of a client that reads again", async () => {
  const storage = new MemoryStorage();
  await using stage = await serving({ storage });
  const groups = await storage.enqueue([
    Array.from({ length: 8 }, () => newJob({ payload: `"${"x".repeat(MIB - 2)}"` })),
  ]);
  const ids = groups.flatMap((group) => (group.ok ? group.jobs.map(({ id }) => id) : []));
  let asked = 0;
  const get = storage.get.bind(storage);
  storage.get = (wanted) => {
    asked += 1;
    return get(wanted);
  };
  await using raw = await RawClient.greeted(stage.server.url);
  await raw.next();
  raw.socket.pause();
  raw.send(...Array.from({ length: 10 }, (_, id) => ["call", id, "get", [ids]]));
  await until(() => asked === 4);
  await turns();
  expect(asked).toBe(4);
  const stopped = stage.server.stop({ timeout: "1h" });
  raw.socket.resume();
  await stopped;
  await raw.closed;
  expect((raw.unread as readonly unknown[][]).map(([kind]) => kind).sort()).toEqual([
    ...Array.from({ length: 10 }, () => "answer"),
    "bye",
  ]);
});

describe("calls that wait for a storage", () => {
  // Guards: a token that may only enqueue could make the server keep 256 frames of 64 MiB.
  it("are refused beyond a number of bytes, and may be repeated when it answers again", async () => {
    const memory = new MemoryStorage();
    const held = gate();
    let under = 0;
    const count: MemoryStorage["count"] = async () => {
      under += 1;
      await held.promise;
      return { n: 0, exact: true };
    };
    const sent: (readonly unknown[])[] = [];
    let frame: (bytes: Uint8Array) => void = () => undefined;
    const session = new Session(
      {
        queuedBytes: 0,
        listen: (events) => (frame = events.frame),
        send: (bytes) => void sent.push(...(unpackFrame(bytes) as unknown[][])),
        pause: () => undefined,
        resume: () => undefined,
        close: () => undefined,
        destroy: () => undefined,
      },
      {},
      "test",
      {
        storage: Object.assign(memory, { count }),
        access: new Access([], false),
        counters: new Counters(),
        logger: silentLogger,
        server: "test",
        heartbeatMs: 60_000,
        callsPerSecond: 20_000,
        ended: () => undefined,
      },
    );
    const say = (...message: readonly unknown[]): void => frame(joinFrame([packMessage(message)]));
    say("hello", { protocol: 2, client: "test" });
    // What a method does not know is passed over, and is held all the same while it lasts.
    const large = Buffer.alloc(wireLimits.callBytes / 5);
    for (let id = 1; id <= 5; id += 1) say("call", id, "count", [{}, large]);
    say("call", 6, "count", [{}]);
    await turns();
    // All but the fifth.
    expect(under).toBe(5);
    const failed = { name: "StorageUnavailableError", message: expect.stringMatching(/may be repeated/) };
    expect(sent.slice(1)).toMatchObject([["failure", 5, failed]]);
    held.open();
    await turns();
    say("call", 7, "count", [{}, large]);
    await turns();
    expect(sent.map(([kind, id]) => [kind, id]).slice(2)).toEqual(
      [1, 2, 3, 4, 6, 7].map((id) => ["answer", id]),
    );
    session.destroy();
  });
});
