// Goal: what is special about ZeroMQ stays below the protocol. Its sockets tell little about their peers and mix all
// of them in one, yet a session ends when its client does, one client disturbs no other, and all come back by
// themselves.
import { afterEach, describe, expect, it } from "vitest";
import { monotonicMs } from "../../src/clock.ts";
import { StorageClosedError, StorageUnavailableError } from "../../src/errors.ts";
import { JobServer } from "../../src/server/index.ts";
import { silentLogger } from "../../src/logger.ts";
import { MemoryStorage } from "../../src/storage/memory/index.ts";
import { RemoteStorage } from "../../src/storage/remote/index.ts";
import { dialZmq } from "../../src/storage/remote/dial-zmq.ts";
import { unpackFrame } from "../../src/wire/frame.ts";
import { wireLimits } from "../../src/wire/limits.ts";
import { zmqLimits } from "../../src/wire/zmq/limits.ts";
import { gate, until } from "../support/world.ts";
import { newJob } from "./support/job.ts";
import { keepingLogger } from "./support/lines.ts";
import { mutatedFrame } from "./support/mutate.ts";
import { validFrames } from "./support/valid-frames.ts";
import { randomFrom, seed, size } from "../support/size.ts";
import { frameOf, FREE, HELLO, RawDealer, zmqServing } from "./zmq-stage.ts";

/** No heartbeat of a test comes to its end within the test: what it sees it was told, or found out by sending. */
const NEVER = { heartbeat: "1h" } as const;

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** One number of a server's `/metrics`. */
async function metric(server: JobServer, name: string): Promise<number> {
  const text = await (await fetch(`${server.url.replace("ws", "http")}/metrics`)).text();
  return Number(new RegExp(`^jobwright_server_${name} (\\d+)$`, "m").exec(text)?.[1]);
}

describe("a session", () => {
  it("is known by a routing id that the client draws anew for each", async () => {
    await using served = await zmqServing(NEVER);
    const clients = await Promise.all(Array.from({ length: 50 }, () => served.client()));
    expect(await metric(served.server, "connections")).toBe(50);
    await Promise.all(clients.map((client) => client.count({ state: "available" })));
  });

  it("ends on both sides when the client closes, without waiting for a heartbeat", async () => {
    await using served = await zmqServing(NEVER);
    const client = await served.client();
    expect(await metric(served.server, "connections")).toBe(1);
    await client.close();
    await until(async () => (await metric(served.server, "connections")) === 0);
  });

  it("is answered an end with an end, and says why it ends by itself", async () => {
    await using served = await zmqServing(NEVER);
    using raw = new RawDealer(served.server.zmqUrl);
    await raw.send(HELLO);
    expect(await raw.next()).toMatchObject(["welcome", { protocol: 2 }]);
    await raw.socket.send("");
    expect(await raw.next()).toBe("end");
    using rude = new RawDealer(served.server.zmqUrl);
    await rude.send(HELLO);
    await rude.next();
    await rude.socket.send("garbage");
    const [part, reason] = await rude.socket.receive();
    expect(part?.length).toBe(0);
    expect(String(reason)).toMatch(/frame/);
  });

  it("takes frames as the parts of one message", async () => {
    await using served = await zmqServing(NEVER);
    using raw = new RawDealer(served.server.zmqUrl);
    await raw.socket.send([frameOf(HELLO), frameOf(["ping", 1], ["ping", 2]), frameOf(["ping", 3])]);
    expect(await raw.next()).toMatchObject(["welcome", {}]);
    for (const id of [1, 2, 3]) expect(await raw.next()).toEqual(["pong", id, expect.any(Number)]);
  });

  it("that the server does not know is told so at once, whatever it says", async () => {
    await using served = await zmqServing(NEVER);
    using raw = new RawDealer(served.server.zmqUrl);
    await raw.send(["ping", 1]);
    expect(await raw.next()).toEqual(["bye", expect.stringMatching(/hello/)]);
    expect(await raw.next()).toBe("end");
    await raw.socket.send(Buffer.alloc(wireLimits.helloBytes + 1));
    expect(await raw.next()).toMatchObject(["bye", expect.any(String)]);
    expect(await metric(served.server, "connections")).toBe(0);
  });

  it("of a silent client ends after three heartbeats, and the client begins anew when it speaks", async () => {
    await using served = await zmqServing({ heartbeat: "60ms" });
    using raw = new RawDealer(served.server.zmqUrl);
    await raw.send(HELLO);
    expect(await raw.next()).toMatchObject(["welcome", {}]);
    expect(await raw.next()).toBe("end");
    await raw.socket.send("");
    await raw.send(["ping", 1]);
    expect(await raw.next()).toMatchObject(["bye", expect.any(String)]);
    expect(await raw.next()).toBe("end");
    await raw.send(HELLO);
    expect(await raw.next()).toMatchObject(["welcome", {}]);
  });

  it("beyond maxConnections is refused, and let in when there is room again", async () => {
    await using served = await zmqServing({ ...NEVER, maxConnections: 1 });
    const first = await served.client();
    using raw = new RawDealer(served.server.zmqUrl);
    await raw.send(HELLO);
    expect(await raw.next()).toMatchObject(["refused", { name: "StorageUnavailableError" }]);
    const second = served.client();
    await first.close();
    expect(await (await second).count({ state: "available" })).toEqual({ n: 0, exact: true });
  });
});

describe("a server that is started again", () => {
  it("gets every call that was made while it was away", async () => {
    const behind = new MemoryStorage();
    const make = async (port: number): Promise<JobServer> => {
      const server = new JobServer({
        storage: behind,
        port: 0,
        zmq: { address: `tcp://127.0.0.1:${port}` },
        logger: silentLogger,
      });
      cleanups.push(() => server.stop());
      await server.start();
      return server;
    };
    let server = await make(0);
    const url = server.zmqUrl;
    const client = new RemoteStorage({ url, logger: silentLogger });
    cleanups.push(() => client.close());
    await client.open();
    for (let round = 0; round < 3; round += 1) {
      await server.stop();
      const calls = Array.from({ length: 20 }, (_, index) =>
        client.enqueue([[newJob({ payload: `${round * 20 + index}` })]]),
      );
      server = await make(Number(new URL(url).port));
      for (const [group] of await Promise.all(calls)) expect(group?.ok).toBe(true);
    }
    expect(await client.count({ state: "available" })).toEqual({ n: 60, exact: true });
  });

  // Guards: one start in ten found the address taken by the server that had just stopped.
  it.each(["127.0.0.1", "0.0.0.0", "[::1]"])("has its address %s again at once", async (host) => {
    let port = 0;
    let client: RemoteStorage | undefined;
    cleanups.push(async () => client?.close());
    const token = "a-token-of-the-tests-0123456789";
    const began = monotonicMs();
    for (let round = 0; round < 15; round += 1) {
      const server = new JobServer({
        storage: new MemoryStorage(),
        port: 0,
        tokens: [token],
        zmq: { address: `tcp://${host}:${port}` },
        logger: silentLogger,
      });
      await server.start();
      port = Number(new URL(server.zmqUrl).port);
      client ??= new RemoteStorage({ url: server.zmqUrl, token, logger: silentLogger });
      await client.open();
      await client.count({});
      await server.stop();
    }
    // None of them waited for its time to be up.
    expect(monotonicMs() - began).toBeLessThan(20_000);
  });

  it("says goodbye to all clients within the time of a close, and leaves nothing behind", async () => {
    await using served = await zmqServing(NEVER);
    const clients = await Promise.all(Array.from({ length: 20 }, () => served.client()));
    const began = monotonicMs();
    await served.server.stop();
    // An answer to each close: nobody was waited for. A close that is not answered takes a second.
    expect(monotonicMs() - began).toBeLessThan(5_000);
    for (const client of clients) {
      const call = client.count({ state: "available" }).catch((error: unknown) => error);
      await client.close();
      expect(await call).toBeInstanceOf(StorageClosedError);
    }
  });
});

describe("one client beside others", () => {
  it("that is gone without a word ends its own session when something is sent to it", async () => {
    await using served = await zmqServing(NEVER);
    const good = await served.client();
    const raw = new RawDealer(served.server.zmqUrl);
    await raw.send(HELLO, ["watch", 1, { available: [{ queue: "default" }] }]);
    await raw.next();
    await until(async () => (await metric(served.server, "connections")) === 2);
    raw.socket.close();
    // Each enqueue wakes the watch: what cannot be delivered is an error of that one session.
    await until(async () => {
      await good.enqueue([[newJob()]]);
      return (await metric(served.server, "connections")) === 1;
    });
    expect((await good.count({ state: "available" })).n).toBeGreaterThan(0);
  });

  it("that does not read its answers is cut off, holding up nobody", async () => {
    const { logger, lines } = keepingLogger();
    await using served = await zmqServing({ heartbeat: "400ms", logger });
    const good = await served.client();
    const payload = JSON.stringify("x".repeat(900_000));
    const [group] = await good.enqueue([Array.from({ length: 4 }, () => newJob({ payload }))]);
    if (group?.ok !== true) throw new Error("The jobs were refused.");
    const ids = group.jobs.map(({ id }) => id);
    using raw = new RawDealer(served.server.zmqUrl, { receiveHighWaterMark: 1 });
    await raw.send(HELLO, ...Array.from({ length: 30 }, (_, id) => ["call", id, "get", [ids]]));
    // Beats of the lazy one go on: it is not its silence that ends it.
    const beats = setInterval(() => void raw.send(["ping", 1]).catch(() => undefined), 50);
    cleanups.push(async () => clearInterval(beats));
    let calls = 0;
    await until(async () => {
      expect(await good.count({ state: "available" })).toEqual({ n: 4, exact: true });
      calls += 1;
      return lines.some((line) => /cut off zmq:\w+: it does not read/.test(line));
    });
    expect(calls).toBeGreaterThan(1);
    await until(async () => (await metric(served.server, "connections")) === 1);
    expect(await metric(served.server, "slow_total")).toBe(1);
  });

  it("that sends more than may wait while it is not read is cut off", async () => {
    await using served = await zmqServing({ ...NEVER, callsPerSecond: 1 });
    const good = await served.client();
    using raw = new RawDealer(served.server.zmqUrl);
    // Two minutes' calls at once: for so long it is not read.
    await raw.send(HELLO, ...Array.from({ length: 120 }, (_, id) => ["call", id, "lanes", []]));
    const frame = frameOf(["ping", 1]);
    for (let sent = 0; sent <= zmqLimits.unreadFrames; sent += 100) {
      await raw.socket.send(Array.from({ length: 101 }, () => frame));
    }
    while ((await raw.next()) !== "end");
    await until(async () => (await metric(served.server, "connections")) === 1);
    expect(await good.count({ state: "available" })).toEqual({ n: 0, exact: true });
  });

  it("that sends garbage ends its own session and nothing else", async () => {
    await using served = await zmqServing(NEVER);
    const good = await served.client();
    const random = randomFrom(seed("zmq garbage"));
    const frames = validFrames(1);
    const known: boolean[] = [];
    for (let round = 0; round < size(300, 6_000); round += 1) {
      using raw = new RawDealer(served.server.zmqUrl);
      const parts = [mutatedFrame(random, frames), mutatedFrame(random, frames)];
      if (random() < 0.8) parts.unshift(frameOf(HELLO));
      // An empty part that nothing went before is the end of nothing, and not answered.
      const sent = parts.filter(({ length }) => length > 0);
      if (sent.length === 0) continue;
      await raw.socket.send([...sent, ""]);
      // It ends in any case: by what was sent, or by the empty part.
      while ((await raw.next()) !== "end");
      // It fails when the good one was disturbed.
      if (round % 50 === 0) known.push((await good.beat(PROCESS)).known);
    }
    expect(known).not.toContain(false);
    expect(await metric(served.server, "malformed_total")).toBeGreaterThan(10);
    await until(async () => (await metric(served.server, "connections")) === 1);
  });

  it("that sends a part above the limit loses its connection", async () => {
    await using served = await zmqServing(NEVER);
    const good = await served.client();
    using raw = new RawDealer(served.server.zmqUrl);
    const cut = new Promise<void>((resolve) => raw.socket.events.on("disconnect", () => resolve()));
    await raw.socket.send(Buffer.alloc(wireLimits.frameBytes + 1));
    await cut;
    expect(await good.count({ state: "available" })).toEqual({ n: 0, exact: true });
  });
});

describe("sending", () => {
  // Regression: ZeroMQ throws EBUSY, and synchronously, at whoever sends while another send waits.
  it("takes 10,000 calls at once", async () => {
    await using served = await zmqServing(NEVER);
    const client = await served.client();
    const results = await Promise.all(
      Array.from({ length: 10_000 }, () => client.count({ state: "available" })),
    );
    expect(results).toEqual(Array.from({ length: 10_000 }, () => ({ n: 0, exact: true })));
  });

  it("takes 10,000 frames at once, each way and in order", async () => {
    await using served = await zmqServing(NEVER);
    const channel = await dialZmq(served.server.zmqUrl, {}).connect(10_000);
    const pongs: number[] = [];
    const all = gate();
    channel.listen({
      frame: (bytes) => {
        for (const [kind, id] of unpackFrame(bytes) as [string, number][])
          if (kind === "pong") pongs.push(id);
        if (pongs.length === 10_000) all.open();
      },
      closed: () => undefined,
    });
    channel.send(frameOf(HELLO));
    for (let id = 0; id < 10_000; id += 1) channel.send(frameOf(["ping", id]));
    expect(channel.queuedBytes).toBeGreaterThan(0);
    await all.promise;
    expect(channel.queuedBytes).toBe(0);
    expect(pongs).toEqual(Array.from({ length: 10_000 }, (_, id) => id));
    channel.destroy();
  });
});

describe("a client", () => {
  it("says what is wrong when nobody is there", async () => {
    const client = new RemoteStorage({ url: "zmq://127.0.0.1:1", deadlineMs: 50, logger: silentLogger });
    await expect(client.open()).rejects.toThrow(StorageUnavailableError);
    await expect(client.open()).rejects.toThrow("No job server answers at zmq://127.0.0.1:1");
    await client.close();
  });

  it("finds the server by its name", async () => {
    await using served = await zmqServing(NEVER);
    const client = await served.client({ url: served.server.zmqUrl.replace("127.0.0.1", "localhost") });
    expect(await client.count({})).toEqual({ n: 0, exact: true });
  });

  it("shows the token that the URL holds", async () => {
    const token = "0123456789abcdef?&";
    await using served = await zmqServing({ ...NEVER, tokens: [{ token, scopes: ["read"] }] });
    const url = served.server.zmqUrl.replace("//", `//:${encodeURIComponent(token)}@`);
    const client = await served.client({ url });
    expect(client.label).toBe(served.server.zmqUrl);
    expect(await client.count({})).toEqual({ n: 0, exact: true });
    await expect(client.enqueue([[newJob()]])).rejects.toMatchObject({ code: "JOBWRIGHT_ACCESS_DENIED" });
    await expect(served.client()).rejects.toMatchObject({ code: "JOBWRIGHT_ACCESS_DENIED" });
  });
});

describe("a server", () => {
  it("says which address it cannot have, and gives up its port for HTTP", async () => {
    await using served = await zmqServing(NEVER);
    const address = served.server.zmqUrl.replace("zmq:", "tcp:");
    const storage = new MemoryStorage();
    const second = new JobServer({ storage, port: 0, zmq: { address }, logger: silentLogger });
    await expect(second.start()).rejects.toThrow(/zmq\.address is .*Another program listens there/);
    await second.stop();
    const third = new JobServer({
      storage,
      port: served.server.port,
      zmq: { address: FREE },
      logger: silentLogger,
    });
    await expect(third.start()).rejects.toThrow(/Another program listens there/);
    expect(() => third.zmqUrl).toThrow(/does not listen by ZeroMQ/);
    await third.stop();
  });
});

const PROCESS = {
  id: "p",
  host: "h",
  pid: 1,
  lostAfterMs: 60_000,
  queues: [],
  holds: [],
  starts: [],
  first: true,
};
