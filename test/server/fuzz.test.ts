import { connect as connectTcp } from "node:net";
import { describe, expect, it } from "vitest";
import { JobwrightError, StateError } from "../../src/errors.ts";
import { silentLogger } from "../../src/logger.ts";
import { JobServer } from "../../src/server/index.ts";
import { Access } from "../../src/server/access.ts";
import { Counters } from "../../src/server/counters.ts";
import { Session } from "../../src/server/session.ts";
import { Connection } from "../../src/storage/remote/connection.ts";
import { RemoteClock } from "../../src/storage/remote/remote-clock.ts";
import { RemoteStorage } from "../../src/storage/remote/index.ts";
import { MemoryStorage } from "../../src/storage/memory/index.ts";
import type { ChannelEvents } from "../../src/wire/channel.ts";
import { joinFrame, packMessage, unpackFrame } from "../../src/wire/frame.ts";
import { readToClient } from "../../src/wire/message.ts";
import { randomFrom, seed, size } from "../support/size.ts";
import { until } from "../support/world.ts";
import { keepingLogger } from "./support/lines.ts";
import { fixedConnection, WELCOME } from "./support/fixed-connection.ts";
import { newJob } from "./support/job.ts";
import { usedMiB } from "./support/memory.ts";
import { garbled, mutatedFrame, type Random } from "./support/mutate.ts";
import { RawClient } from "./support/raw-client.ts";
import { serving } from "./support/serving.ts";
import { HELLO, validFrames } from "./support/valid-frames.ts";

// Goal: nothing that arrives can break a server, or a client: it is answered, passed over, or ends that one
// connection. Memory stays bounded and others go on.
// Method: valid frames of every method, mutated in many ways: straight into sessions (most, for their number), as
// bytes of the network into a real server, and from a server into a client. The seed is printed.

/** What memory may grow by, in MiB, whatever came. */
const GROWTH_MIB = 64;
/** Jobs that may be stored meanwhile: what strangers enqueue validly is theirs to enqueue. */
const JOBS = 2_000;

describe("a server", () => {
  it("survives mutated frames", async () => {
    const start = seed("mutated frames");
    const random = randomFrom(start);
    const frames = validFrames(start);
    const storage = new MemoryStorage({ maxJobs: JOBS });
    await storage.open();
    const { logger, lines } = keepingLogger();
    const stage = new Stage(storage, logger);
    const before = usedMiB();
    const total = size(5_000, 100_000);
    let opened = 0;
    let sent = 0;
    while (sent < total) {
      const one = stage.open();
      opened += 1;
      if (random() < 0.95) one.receive(joinFrame([packMessage(HELLO)]));
      for (let count = 0; count < 40 && !one.isEnded && sent < total; count += 1) {
        one.receive(random() < 0.9 ? mutatedFrame(random, frames) : valid(random, frames));
        sent += 1;
        if (random() < 0.2) await turn();
      }
      await turn();
      one.end();
    }
    // An error that is not one of ours was nobody's to throw.
    expect(lines.filter((line) => line.startsWith("error"))).toEqual([]);
    expect(stage.unreadable).toEqual([]);
    expect(stage.sessions).toBe(0);
    const { malformed, calls } = stage.counters;
    const answered = [...calls.values()].reduce((sum, { calls: n }) => sum + n, 0);
    // The mutants reach all of it: some are refused, some get through.
    expect(malformed).toBeGreaterThan(total / 50);
    expect(answered).toBeGreaterThan(total / 20);
    const growth = usedMiB() - before;
    process.stderr.write(
      `${total} mutated frames, ${opened} sessions: ${malformed} ended, ${answered} calls answered, ` +
        `memory +${growth.toFixed(1)} MiB\n`,
    );
    expect(growth).toBeLessThan(GROWTH_MIB);
    // And the storage behind still does its work.
    await storage.close();
  });

  it("goes on for a good client while strangers send garbage from the network", async () => {
    const start = seed("garbage from the network");
    const random = randomFrom(start);
    const { logger, lines } = keepingLogger();
    await using behind = closing(new MemoryStorage());
    await using server = new JobServer({ storage: behind.storage, port: 0, heartbeat: "200ms", logger });
    await server.start();
    await using good = closing(new RemoteStorage({ url: server.url, logger: silentLogger }));
    await good.storage.open();
    const recorded = recording(server.port);
    const before = usedMiB();
    const total = size(400, 8_000);
    let left = total;
    let made = 0;
    const stranger = async (): Promise<void> => {
      while (left > 0) {
        left -= 1;
        await knock(server.port, garbled(random, random() < 0.5 ? recorded : garbled(random, recorded)));
      }
    };
    const client = async (): Promise<void> => {
      // oxlint-disable-next-line no-unmodified-loop-condition -- the strangers count it down
      while (left > 0) {
        await good.storage.enqueue([[newJob({ payload: `${made}` })]]);
        made += 1;
      }
    };
    await Promise.all([...Array.from({ length: 16 }, stranger), client()]);
    expect(made).toBeGreaterThan(0);
    expect(await good.storage.count({ name: "work" })).toEqual({ n: made, exact: true });
    expect(lines.filter((line) => line.startsWith("error"))).toEqual([]);
    const growth = usedMiB() - before;
    process.stderr.write(
      `${total} garbled connections beside ${made} enqueues: memory +${growth.toFixed(1)} MiB\n`,
    );
    expect(growth).toBeLessThan(GROWTH_MIB);
  });
});

describe("an error whose text is no Unicode", () => {
  it("is told as the protocol has it, and arrives as it was", async () => {
    const storage = Object.assign(new MemoryStorage(), {
      lanes: () => Promise.reject(new StateError("half a pair: \ud800")),
    });
    await using stage = await serving({ storage });
    await using raw = await RawClient.greeted(stage.server.url);
    await raw.next();
    raw.send(["call", 1, "lanes", []]);
    expect(await raw.next()).toMatchObject([
      "failure",
      1,
      { message: Buffer.from("half a pair: \ud800", "utf16le") },
    ]);
    await expect((await stage.client()).lanes()).rejects.toThrow("half a pair: \ud800");
  });
});

describe("a client", () => {
  it("survives mutated answers, and its calls end", async () => {
    const start = seed("mutated answers");
    const random = randomFrom(start);
    const storage = new MemoryStorage();
    await storage.open();
    const ids = (await storage.enqueue([[newJob(), newJob()]])).flatMap((group) =>
      group.ok ? group.jobs.map(({ id }) => id) : [],
    );
    const stage = new Stage(storage, silentLogger);
    const ends: Record<string, number> = {};
    const foreign: string[] = [];
    const total = size(500, 10_000);
    let left = total;
    const one = async (): Promise<void> => {
      while (left > 0) {
        left -= 1;
        const connection = mutatingConnection(stage, random);
        const opened = connection.open(5_000);
        const calls = [
          opened,
          connection.call("get", [ids], 5_000),
          connection.call("list", [{ state: "available", limit: 10 }], 5_000),
          connection.call("claim", [{ processId: "p", token: "t", queues: [], starts: [] }], 5_000),
          connection.call("count", [{}], 5_000),
        ];
        for (const end of await Promise.allSettled(calls)) {
          const how = end.status === "fulfilled" ? "answered" : (end.reason as Error).name;
          ends[how] = (ends[how] ?? 0) + 1;
          if (how !== "answered" && !((end as PromiseRejectedResult).reason instanceof JobwrightError))
            foreign.push(how);
        }
        connection.close();
      }
    };
    await Promise.all(Array.from({ length: 100 }, one));
    process.stderr.write(`${total} clients of mutating servers: ${JSON.stringify(ends)}\n`);
    expect(foreign).toEqual([]);
    expect(ends["answered"] ?? 0).toBeGreaterThan(total);
    expect(Object.keys(ends).length).toBeGreaterThan(1);
  });
});

describe("a client of something else", () => {
  it("is told so by an error of ours, and makes no connection after that", async () => {
    const { connection, channels } = fixedConnection([["hello"]]);
    const opened = connection.open(300);
    await expect(opened).rejects.toBeInstanceOf(JobwrightError);
    await expect(opened).rejects.toThrow("cannot be read: message is of no kind that a server sends.");
    const made = channels.length;
    // As long as another one tries again and again.
    const other = fixedConnection([["hello"]]);
    await expect(other.connection.open(1_000)).rejects.toBeInstanceOf(JobwrightError);
    expect(other.channels.length).toBeGreaterThan(1);
    expect(channels.length).toBe(made);
    // Unless it is wanted again.
    await expect(connection.open(1)).rejects.toBeInstanceOf(JobwrightError);
    await until(() => channels.length > made);
    connection.close();
    other.connection.close();
  });

  it("says nothing more to a connection that has ended, however often it was welcomed", async () => {
    const bad = fixedConnection([WELCOME, WELCOME]);
    await bad.connection.open(5_000);
    await expect(bad.connection.call("lanes", [], 5_000)).rejects.toThrow(
      'sent "welcome" at a time for something else',
    );
    // As long as another heart of the same pace takes for many beats.
    const good = fixedConnection([WELCOME]);
    await good.connection.open(5_000);
    await until(() => (good.channels[0]?.sent ?? 0) >= 20);
    expect(bad.channels[0]).toMatchObject({ sentWhenClosed: 0 });
    bad.connection.close();
    good.connection.close();
  });
});

/** Sessions without a network: what is sent to them arrives at once, and what they send is looked at. */
class Stage {
  readonly counters = new Counters();
  readonly unreadable: string[] = [];
  sessions = 0;
  readonly #deps;

  constructor(storage: MemoryStorage, logger: typeof silentLogger) {
    this.#deps = {
      storage,
      access: new Access([], false),
      counters: this.counters,
      logger,
      server: "jobwright",
      heartbeatMs: 60_000,
      callsPerSecond: 1_000_000,
      ended: () => void (this.sessions -= 1),
    };
  }

  open(to: (frame: Uint8Array) => void = () => undefined): OpenSession {
    let events: ChannelEvents | undefined;
    const one: OpenSession = {
      isEnded: false,
      receive: (bytes) => events?.frame(bytes),
      end: () => {
        if (one.isEnded) return;
        one.isEnded = true;
        events?.closed("over");
      },
    };
    this.sessions += 1;
    // oxlint-disable-next-line no-new -- it lives by its channel
    new Session(
      {
        queuedBytes: 0,
        listen: (given) => void (events = given),
        send: (frame) => {
          this.#look(frame);
          to(frame);
        },
        pause: () => undefined,
        resume: () => undefined,
        close: () => one.end(),
        destroy: () => one.end(),
      },
      {},
      "fuzz",
      this.#deps,
    );
    return one;
  }

  /** Whatever a server was sent, what it sends is the protocol's. */
  #look(frame: Uint8Array): void {
    try {
      for (const message of unpackFrame(frame)) readToClient(message);
    } catch (error) {
      this.unreadable.push(String(error));
    }
  }
}

interface OpenSession {
  isEnded: boolean;
  readonly receive: (bytes: Uint8Array) => void;
  readonly end: () => void;
}

/** A client whose first connection brings mutated frames now and then; later ones are as they should be. */
function mutatingConnection(stage: Stage, random: Random): Connection {
  let attempts = 0;
  return new Connection({
    clock: new RemoteClock(),
    logger: silentLogger,
    client: "fuzz",
    heartbeatMs: 1_000,
    dial: {
      label: "fuzz",
      connect: async () => {
        attempts += 1;
        const isBad = attempts === 1;
        let events: ChannelEvents | undefined;
        const seen: unknown[][] = [];
        const session = stage.open((frame) => {
          seen.push([...unpackFrame(frame)]);
          const shown = isBad && random() < 0.7 ? mutatedFrame(random, seen) : frame;
          queueMicrotask(() => events?.frame(shown));
        });
        const end = (): void => {
          session.end();
          events?.closed("ended");
        };
        return {
          queuedBytes: 0,
          listen: (given) => void (events = given),
          // A mutant may tell the client nothing at all: such a connection must end somehow.
          send: (frame) => {
            session.receive(frame);
            if (isBad) setTimeout(end, 20);
          },
          pause: () => undefined,
          resume: () => undefined,
          close: end,
          destroy: end,
        };
      },
    },
  });
}

function valid(random: Random, frames: readonly (readonly unknown[])[]): Buffer {
  const messages = frames[Math.floor(random() * frames.length)] as readonly (readonly unknown[])[];
  return joinFrame(messages.map((message) => packMessage(message)));
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function closing<S extends { close(): Promise<void> }>(
  storage: S,
): AsyncDisposable & { readonly storage: S } {
  return { storage, [Symbol.asyncDispose]: () => storage.close() };
}

/** The bytes of a client that says hello, asks something and goes, as a WebSocket carries them. */
function recording(port: number): Buffer {
  const head =
    `GET / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: jobwright\r\n\r\n";
  const frames = [
    joinFrame([packMessage(HELLO)]),
    joinFrame([packMessage(["call", 1, "lanes", []]), packMessage(["ping", 2])]),
    joinFrame([packMessage(["watch", 3, { finished: [1] }])]),
  ].map((payload) => Buffer.concat([Buffer.from([0x82, 0x80 | payload.length, 0, 0, 0, 0]), payload]));
  const close = Buffer.from([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]);
  return Buffer.concat([Buffer.from(head), ...frames, close]);
}

/** Send bytes, hang up, and wait until the server has let go. */
function knock(port: number, bytes: Buffer): Promise<void> {
  return new Promise((resolve) => {
    const socket = connectTcp(port, "127.0.0.1", () => socket.end(bytes));
    socket.resume();
    socket.once("error", () => undefined);
    socket.once("close", () => resolve());
  });
}
