// Goal: by ZeroMQ nobody comes in who may not. Without keys a server is for this machine or for whoever has a token;
// with keys it is for the clients it lists, and CURVE alone, which lets in everybody, is never what decides.
import { curveKeyPair as zmqKeyPair } from "zeromq";
import { afterEach, describe, expect, it } from "vitest";
import { AccessDeniedError, InvalidOptionError } from "../../src/errors.ts";
import { silentLogger } from "../../src/logger.ts";
import { curveKeyPair, JobServer, type JobServerOptions } from "../../src/server/index.ts";
import { MemoryStorage } from "../../src/storage/memory/index.ts";
import { RemoteStorage, type RemoteStorageOptions } from "../../src/storage/remote/index.ts";
import { connect } from "../../src/connect.ts";
import { publicKeyOf } from "../../src/wire/zmq/keys.ts";
import { keepingLogger } from "./support/lines.ts";
import { FREE, zmqServing } from "./zmq-stage.ts";

const own = curveKeyPair();
const friend = curveKeyPair();
const stranger = curveKeyPair();
const TOKEN = "a-token-of-enough-length";
const KEYED = { zmq: { address: FREE, secretKey: own.secretKey, clients: [friend.publicKey] } };

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function client(url: string, options: Partial<RemoteStorageOptions> = {}): RemoteStorage {
  const storage = new RemoteStorage({ url, logger: silentLogger, deadlineMs: 1_000, ...options });
  cleanups.push(() => storage.close());
  return storage;
}

describe("a server with a list of clients", () => {
  it("serves a client on it, and says its own public key", async () => {
    await using served = await zmqServing(KEYED);
    expect(new URL(served.server.zmqUrl).search).toBe(`?serverKey=${encodeURIComponent(own.publicKey)}`);
    const listed = client(served.server.zmqUrl, { secretKey: friend.secretKey });
    await listed.open();
    expect(await listed.count({})).toEqual({ n: 0, exact: true });
    expect(listed.label).not.toContain("serverKey");
  });

  it("takes the client's key from a URL", async () => {
    await using served = await zmqServing(KEYED);
    const url = `${served.server.zmqUrl}&secretKey=${encodeURIComponent(friend.secretKey)}`;
    await using jobs = await connect(url, { logger: silentLogger });
    expect(await jobs.count({ state: "available" })).toMatchObject({ n: 0 });
  });

  it("refuses a key that is not on it, at once and as what it is", async () => {
    const { logger, lines } = keepingLogger();
    await using served = await zmqServing({ ...KEYED, logger });
    const unknown = client(served.server.zmqUrl, { secretKey: stranger.secretKey });
    await expect(unknown.open()).rejects.toThrow(AccessDeniedError);
    await expect(unknown.open()).rejects.toThrow("Put its public key into `zmq.clients` there.");
    expect(lines.some((line) => line.includes("refused a ZeroMQ client"))).toBe(true);
    // And a client without a key of its own, who draws one.
    await expect(client(served.server.zmqUrl).open()).rejects.toThrow(AccessDeniedError);
    for (const line of lines) expect(line).not.toContain(stranger.publicKey);
  });

  it("refuses a client that does not encrypt", async () => {
    await using served = await zmqServing(KEYED);
    const plain = client(served.server.zmqUrl.replace(/\?.*/, ""));
    await expect(plain.open()).rejects.toThrow(/wants keys/);
    await expect(plain.open()).rejects.toThrow(AccessDeniedError);
  });

  it("is not what a client that knows another server's key talks to", async () => {
    await using served = await zmqServing(KEYED);
    const misled = client(served.server.zmqUrl, {
      serverKey: stranger.publicKey,
      secretKey: friend.secretKey,
    });
    await expect(misled.open()).rejects.toThrow(/check that `serverKey` is its public key/);
  });

  it("keeps its list apart from the lists of others in the process", async () => {
    await using first = await zmqServing(KEYED);
    await using second = await zmqServing({
      zmq: { address: FREE, secretKey: own.secretKey, clients: [stranger.publicKey] },
    });
    await client(first.server.zmqUrl, { secretKey: friend.secretKey }).open();
    await client(second.server.zmqUrl, { secretKey: stranger.secretKey }).open();
    await expect(client(first.server.zmqUrl, { secretKey: stranger.secretKey }).open()).rejects.toThrow(
      AccessDeniedError,
    );
    await expect(client(second.server.zmqUrl, { secretKey: friend.secretKey }).open()).rejects.toThrow(
      AccessDeniedError,
    );
    // The door of one stays when the other goes.
    await second.server.stop();
    await client(first.server.zmqUrl, { secretKey: friend.secretKey }).open();
    await expect(client(first.server.zmqUrl, { secretKey: stranger.secretKey }).open()).rejects.toThrow(
      AccessDeniedError,
    );
  });

  it("can be stopped and another one started, again and again", async () => {
    for (let round = 0; round < 20; round += 1) {
      await using served = await zmqServing(KEYED);
      const listed = client(served.server.zmqUrl, { secretKey: friend.secretKey });
      await listed.open();
      expect(await listed.count({})).toEqual({ n: 0, exact: true });
      await listed.close();
    }
  });
});

describe("a server with a key and tokens", () => {
  it("encrypts for anybody, and lets the token decide", async () => {
    await using served = await zmqServing({
      zmq: { address: FREE, secretKey: own.secretKey },
      tokens: [{ token: TOKEN, scopes: ["read"] }],
    });
    const reader = client(served.server.zmqUrl, { token: TOKEN });
    await reader.open();
    expect(await reader.count({})).toEqual({ n: 0, exact: true });
    await expect(reader.configure({ queue: "q" }, { paused: true })).rejects.toThrow(AccessDeniedError);
    await expect(client(served.server.zmqUrl).open()).rejects.toThrow(/wants a token/);
  });
});

describe("a client with keys", () => {
  it("is told when the server has none", async () => {
    await using served = await zmqServing();
    const keyed = client(served.server.zmqUrl, { serverKey: own.publicKey, secretKey: friend.secretKey });
    await expect(keyed.open()).rejects.toThrow(/does not use keys/);
  });
});

describe("what is refused at construction", () => {
  const everybody = "tcp://0.0.0.0:0";
  const refused: [string, Partial<JobServerOptions>, RegExp][] = [
    [
      "another address without anything",
      { zmq: { address: everybody } },
      /zmq\.address is .*Whoever reaches/,
    ],
    ["all of IPv6", { zmq: { address: "tcp://[::]:0" } }, /Whoever reaches/],
    [
      "a key without a list",
      { zmq: { secretKey: own.secretKey } },
      /zmq\.clients is "not given".*alone lets in/,
    ],
    ["an empty list", { zmq: { secretKey: own.secretKey, clients: [] } }, /zmq\.clients is "0 keys"/],
    ["a list without a key", { zmq: { clients: [friend.publicKey] } }, /need the server's own `secretKey`/],
    [
      "a list without a key elsewhere",
      { zmq: { address: everybody, clients: [friend.publicKey] } },
      /secretKey/,
    ],
    [
      "a key that is none",
      { zmq: { secretKey: "x".repeat(39), clients: [friend.publicKey] } },
      /39 characters/,
    ],
    [
      "a key of other characters",
      { zmq: { secretKey: "~".repeat(40), clients: [friend.publicKey] } },
      /zmq\.secretKey/,
    ],
    [
      "a key too large for its bytes",
      { zmq: { secretKey: "#".repeat(40), clients: [friend.publicKey] } },
      /zmq\.secretKey/,
    ],
    ["a client that is none", { zmq: { secretKey: own.secretKey, clients: ["abc"] } }, /zmq\.clients\[0\]/],
    ["an unknown option", { zmq: { adress: FREE } as never }, /adress/],
    ["no options", { zmq: true as never }, /zmq is/],
    ["a name", { zmq: { address: "tcp://example.com:7421" } }, /addresses in numbers/],
    ["another transport", { zmq: { address: "ipc:///tmp/x" } }, /zmq\.address/],
    ["a port that is none", { zmq: { address: "tcp://127.0.0.1:70000" } }, /zmq\.address/],
  ];
  it.each(refused)("%s", (_what, options, message) => {
    const make = (): JobServer => new JobServer({ storage: new MemoryStorage(), port: 0, ...options });
    expect(make).toThrow(InvalidOptionError);
    expect(make).toThrow(message);
    expect(make).not.toThrow(own.secretKey);
  });

  it.each([
    ["another address with a list", { zmq: { ...KEYED.zmq, address: everybody } }],
    ["another address with tokens", { zmq: { address: everybody }, tokens: [TOKEN] }],
    ["this machine by name", { zmq: { address: "tcp://localhost:7421" } }],
    ["this machine by IPv6", { zmq: { address: "tcp://[::1]:7421" } }],
    ["defaults", { zmq: {} }],
  ] satisfies [string, Partial<JobServerOptions>][])("not %s", (_what, options) => {
    expect(() => new JobServer({ storage: new MemoryStorage(), ...options })).not.toThrow();
  });

  it.each([
    ["a secret key alone", "zmq://127.0.0.1", { secretKey: friend.secretKey }, /serverKey is "not given"/],
    ["a key that is none", "zmq://127.0.0.1?serverKey=abc", {}, /serverKey is "a text of 3 characters"/],
    ["a key that a URL has cut", `zmq://127.0.0.1?serverKey=${"#".repeat(40)}`, {}, /encodeURIComponent/],
    ["another parameter", "zmq://127.0.0.1?key=1", {}, /Known are serverKey and secretKey/],
    ["certificates", "zmq://127.0.0.1", { tls: { ca: "x" } }, /tls/],
    ["a path", "zmq://127.0.0.1/jobs", {}, /zmq:\/\/host:port/],
    ["no host", "zmq:", {}, /zmq:\/\/host:port/],
    ["keys for a WebSocket", "ws://127.0.0.1:1", { serverKey: own.publicKey }, /serverKey.*"zmq:"/],
  ] satisfies [string, string, Partial<RemoteStorageOptions>, RegExp][])(
    "%s in a client",
    (_what, url, options, message) => {
      const make = (): RemoteStorage => new RemoteStorage({ url, ...options });
      expect(make).toThrow(InvalidOptionError);
      expect(make).toThrow(message);
      expect(make).not.toThrow(friend.secretKey);
    },
  );
});

describe("curveKeyPair", () => {
  it("makes what ZeroMQ makes", () => {
    for (let round = 0; round < 50; round += 1) {
      const { publicKey, secretKey } = zmqKeyPair();
      expect(publicKeyOf(secretKey)).toBe(publicKey);
      const ours = curveKeyPair();
      expect(ours.publicKey).toBe(publicKeyOf(ours.secretKey));
      expect(ours.secretKey).toHaveLength(40);
    }
    expect(own.secretKey).not.toBe(friend.secretKey);
  });
});
