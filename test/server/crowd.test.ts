import { connect as connectTcp } from "node:net";
import { describe, expect, it } from "vitest";
import { connect } from "../../src/connect.ts";
import { defineJob } from "../../src/job/definition.ts";
import { json } from "../../src/job/schema.ts";
import { silentLogger } from "../../src/logger.ts";
import { packArgs } from "../../src/wire/message.ts";
import { size } from "../support/size.ts";
import { until } from "../support/world.ts";
import { newJob } from "./support/job.ts";
import { usedMiB } from "./support/memory.ts";
import { RawClient } from "./support/raw-client.ts";
import { serving } from "./support/serving.ts";

// Goal: many who do nothing, and some who do what nobody should, cost those who work nothing but a little time.

/** Longest of all but one in a hundred, in ms. */
function p99(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[Math.ceil(times.length * 0.99) - 1] as number;
}

describe("a crowd that does nothing", () => {
  it("costs little memory and no one else's time", async () => {
    const idle = size(100, 1_000);
    await using stage = await serving();
    const good = await stage.client();
    const before = usedMiB();
    const crowd = await Promise.all(
      Array.from({ length: idle }, async () => {
        const one = await RawClient.greeted(stage.server.url);
        expect((await one.next())[0]).toBe("welcome");
        one.send(["watch", 1, { available: [{ queue: "elsewhere" }] }]);
        return one;
      }),
    );
    const times: number[] = [];
    for (let call = 0; call < 300; call += 1) {
      const began = performance.now();
      await good.enqueue([[newJob({ payload: `${call}` })]]);
      times.push(performance.now() - began);
    }
    const grown = usedMiB() - before;
    const rss = process.memoryUsage().rss / 1_048_576;
    process.stderr.write(
      `${idle} idle connections (both ends in this process): memory +${grown.toFixed(0)} MiB, rss ${rss.toFixed(0)} MiB, ` +
        `enqueue p99 ${p99(times).toFixed(1)} ms\n`,
    );
    expect(p99(times)).toBeLessThan(5_000);
    expect(grown / idle).toBeLessThan(0.25);
    for (const one of crowd) one.socket.terminate();
    await Promise.all(crowd.map(({ closed }) => closed));
  });
});

describe("strangers", () => {
  const tcp = (bytes: string | Buffer) => (port: number) =>
    new Promise<void>((resolve) => {
      const socket = connectTcp(port, "127.0.0.1", () => socket.write(bytes));
      socket.resume();
      socket.once("error", () => undefined);
      socket.once("close", () => resolve());
    });
  /** Says hello, then something else, and waits for its end. */
  const ended = (say: (raw: RawClient) => void, reason: RegExp) => async (port: number) => {
    await using raw = await RawClient.greeted(`ws://127.0.0.1:${port}`);
    await raw.next();
    say(raw);
    expect((await raw.closed).reason).toMatch(reason);
  };
  const call = (id: number): readonly unknown[] => ["call", id, "get", packArgs("get", [[1]])];

  const strangers: [string, (port: number) => Promise<void>][] = [
    ["bytes that are no HTTP", tcp(Buffer.alloc(4_096, 0xff))],
    ["an HTTP request without an end", tcp(`GET / HTTP/1.1\r\nX: ${"x".repeat(100_000)}`)],
    ["a TLS hello", tcp(Buffer.from([0x16, 0x03, 0x01, 0x00, 0xa5, 0x01, 0x00, 0x00, 0xa1]))],
    ["a text message", ended((raw) => raw.socket.send("[]"), /binary/)],
    ["hello twice", ended((raw) => raw.send(["hello", { protocol: 2, client: "x" }]), /comes twice/)],
    ["bytes that are no msgpack", ended((raw) => raw.sendBytes(Buffer.from([0xc1])), /extension/)],
    ["an empty message", ended((raw) => raw.sendBytes(Buffer.alloc(0)), /ends too early/)],
    [
      "more calls than it has credits for",
      ended((raw) => raw.send(...Array.from({ length: 300 }, (_, id) => call(id))), /the 256 that may wait/),
    ],
    ["a watch whose number is taken", ended((raw) => raw.send(["watch", 1, {}], ["watch", 1, {}]), /taken/)],
    [
      "watches without number",
      ended((raw) => {
        const finished = Array.from({ length: 100_000 }, (_, id) => id);
        for (let watch = 0; watch < 11; watch += 1) raw.send(["watch", watch, { finished }]);
      }, /waits for more than 1000000/),
    ],
    [
      "nothing at all, not even hello",
      async (port) => {
        await using raw = await RawClient.connect(`ws://127.0.0.1:${port}`);
        expect((await raw.closed).reason).toMatch(/was silent for 900 ms/);
      },
    ],
    [
      "a call before its hello",
      async (port) => {
        await using raw = await RawClient.connect(`ws://127.0.0.1:${port}`);
        raw.send(call(1));
        expect((await raw.closed).reason).toMatch(/before a hello/);
      },
    ],
    [
      "a hello of megabytes",
      async (port) => {
        await using raw = await RawClient.connect(`ws://127.0.0.1:${port}`);
        raw.send(["hello", { protocol: 2, client: "x".repeat(2_000_000) }]);
        expect((await raw.closed).reason).toMatch(/larger than 4096 bytes/);
      },
    ],
    [
      "a first frame without an end",
      async (port) => {
        await using raw = await RawClient.connect(`ws://127.0.0.1:${port}`);
        // Of the sixty megabytes that it announces, a tenth of one is enough to be sent away.
        const part = Buffer.alloc(100_000);
        part.set([0x82, 0xff]);
        part.writeBigUInt64BE(60_000_000n, 2);
        raw.sendRaw(part);
        expect(await raw.closed).toEqual({
          code: 1_009,
          reason: "The first frame is larger than 4096 bytes.",
        });
      },
    ],
    [
      "another version",
      async (port) => {
        await using raw = await RawClient.connect(`ws://127.0.0.1:${port}`);
        raw.send(["hello", { protocol: 3, client: "x" }]);
        expect(await raw.next()).toMatchObject(["refused", { code: "JOBWRIGHT_PROTOCOL" }]);
        await raw.closed;
      },
    ],
    [
      "a frame larger than any",
      async (port) => {
        await using raw = await RawClient.greeted(`ws://127.0.0.1:${port}`);
        await raw.next();
        // The header alone tells: of what it announces nothing is sent.
        const header = Buffer.alloc(14);
        header.set([0x82, 0xff]);
        header.writeBigUInt64BE(67_108_865n, 2);
        raw.sendRaw(header);
        expect((await raw.closed).code).toBe(1_009);
      },
    ],
  ];

  it.each(strangers)("who send %s lose their connection, and nobody else does", async (_what, knock) => {
    await using stage = await serving({ heartbeat: "300ms" });
    const good = await stage.client();
    await good.enqueue([[newJob()]]);
    await knock(stage.server.port);
    expect(await good.count({})).toEqual({ n: 1, exact: true });
    // The good client's one connection, all along.
    const page = async (): Promise<string> =>
      (await fetch(`http://127.0.0.1:${stage.server.port}/metrics`)).text();
    await until(async () => /^jobwright_server_connections 1$/m.test(await page()));
    expect(await page()).toMatch(/^jobwright_server_calls_total\{method="count"\} 1$/m);
  });
});

describe("workers on two machines", () => {
  it("drain one server together", async () => {
    const token = "a-token-of-the-tests-0123456789";
    await using stage = await serving({ host: "0.0.0.0", tokens: [token] });
    // Linux has all of 127.0.0.0/8; elsewhere this machine is one address alone.
    const addresses = { one: "127.0.0.1", two: process.platform === "linux" ? "127.0.0.2" : "127.0.0.1" };
    const url = (address: string): string => `ws://:${token}@${address}:${stage.server.port}`;
    const jobs = size(200, 4_000);
    const ran: Record<string, number[]> = { one: [], two: [] };
    const definition = defineJob({ name: "work", payload: json<number>() });
    const workers = await Promise.all(
      Object.entries(addresses).map(async ([machine, address]) => {
        const connection = await connect(url(address), { logger: silentLogger });
        const worker = connection.worker(
          [
            defineJob({
              name: "work",
              payload: json<number>(),
              run: async (payload) => {
                ran[machine]?.push(payload);
                await new Promise(setImmediate);
              },
            }),
          ],
          { concurrency: 5 },
        );
        return { connection, worker };
      }),
    );
    const spawner = await connect(url("127.0.0.1"), { logger: silentLogger });
    await Promise.all(workers.map(({ worker }) => worker.start()));
    await Promise.all(Array.from({ length: jobs }, (_, index) => spawner.enqueue(definition, index)));
    await until(async () => (await stage.behind.count({ state: "completed" })).n === jobs);
    await Promise.all(workers.map(({ worker }) => worker.stop()));
    await Promise.all([spawner, ...workers.map(({ connection }) => connection)].map((one) => one.close()));
    const all = [...(ran["one"] ?? []), ...(ran["two"] ?? [])].sort((a, b) => a - b);
    expect(all).toEqual(Array.from({ length: jobs }, (_, index) => index));
    for (const machine of ["one", "two"]) expect(ran[machine]?.length).toBeGreaterThan(0);
  });
});
