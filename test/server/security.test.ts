// oxlint-disable vitest/no-conditional-expect -- what must hold depends on what came
import { once } from "node:events";
import { request } from "node:http";
import { type AddressInfo, createServer } from "node:net";
import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { AccessDeniedError, InvalidOptionError, StorageUnavailableError } from "../../src/errors.ts";
import { JobServer, type Scope } from "../../src/server/index.ts";
import { RemoteStorage } from "../../src/storage/remote/index.ts";
import { MemoryStorage } from "../../src/storage/memory/index.ts";
import { METHODS, type MethodName } from "../../src/wire/methods.ts";
import { newJob } from "./support/job.ts";
import { keepingLogger } from "./support/lines.ts";
import { RawClient } from "./support/raw-client.ts";
import { pem, serving } from "./support/serving.ts";

// Goal: who may not, cannot, and hears why in words that betray nothing.

const TOKEN = "a-token-of-the-tests-0123456789";
const OTHER = "another-token-entirely-98765432";

describe("tokens", () => {
  it("open the door in the URL, as an option and in the header, and nothing else does", async () => {
    await using stage = await serving({ tokens: [TOKEN] });
    const { url } = stage.server;
    const withToken = url.replace("ws://", `ws://:${TOKEN}@`);
    for (const options of [{ url: withToken }, { token: TOKEN }]) {
      const client = await stage.client(options);
      expect((await client.lanes()).lanes).toEqual([]);
    }
    await using raw = await RawClient.greeted(url, { token: TOKEN });
    expect((await raw.next())[0]).toBe("welcome");

    const wrong: [Partial<{ url: string; token: string }>, string][] = [
      [{}, "wants a token"],
      [{ token: OTHER }, "does not know this token"],
      [{ token: TOKEN.slice(0, -1) }, "does not know this token"],
      [{ token: `${TOKEN}x` }, "does not know this token"],
      [{ token: TOKEN.toUpperCase() }, "does not know this token"],
      [{ url: url.replace("ws://", `ws://${TOKEN}@`) }, "wants a token"],
    ];
    for (const [options, why] of wrong) {
      const refused = stage.client(options);
      await expect(refused).rejects.toBeInstanceOf(AccessDeniedError);
      await expect(refused).rejects.toThrow(why);
    }
  });

  it("are wanted before the first frame, and a wrong one in the hello is refused all the same", async () => {
    await using stage = await serving({ tokens: [TOKEN] });
    await expect(RawClient.connect(stage.server.url)).rejects.toThrow("401: The job server wants a token.");
    const headers = { authorization: `Bearer ${TOKEN}` };
    await using raw = await RawClient.connect(stage.server.url, { headers });
    raw.send(["hello", { protocol: 2, client: "test", token: OTHER }], ["call", 1, "lanes", []]);
    expect(await raw.next()).toEqual([
      "refused",
      {
        name: "AccessDeniedError",
        code: "JOBWRIGHT_ACCESS_DENIED",
        message: expect.stringMatching(/does not know this token/),
      },
    ]);
    await raw.closed;
    expect(raw.unread).toEqual([]);
  });

  it("allow what their scopes say, method by method", async () => {
    const scopes: readonly Scope[] = ["enqueue", "read", "work", "admin"];
    const tokenOf = (scope: Scope): string => `${scope}-token-of-the-tests-0123456789`;
    await using stage = await serving({
      tokens: scopes.map((scope) => ({ token: tokenOf(scope), scopes: [scope] })),
    });
    const allowed: Record<string, string[]> = {};
    for (const scope of scopes) {
      await using raw = await RawClient.greeted(stage.server.url, { token: tokenOf(scope) });
      expect(await raw.next()).toMatchObject(["welcome", { scopes: [scope] }]);
      const methods = Object.keys(METHODS) as MethodName[];
      // Without arguments: whoever may call a method that needs some hears of those instead.
      raw.send(...methods.map((method, id) => ["call", id, method, []]), ["watch", 1_000, {}], ["ping", 1]);
      const denied = new Set<string>();
      for (let message = await raw.next(); message[0] !== "pong"; message = await raw.next()) {
        const [kind, id, failure] = message as [string, number, { name: string; message: string }];
        if (kind === "failure" && failure.name === "AccessDeniedError") {
          denied.add(methods[id] ?? "watch");
          expect(failure.message).toMatch(/^This token does not allow `\w+`, which needs the scope "\w+"\.$/);
        }
      }
      allowed[scope] = [...methods, "watch"].filter((method) => !denied.has(method)).sort();
    }
    const enqueue = ["define", "enqueue"];
    const read = "attempts count get keys lanes list logs processes schedules stats watch".split(" ");
    const work = "beat claim dueSchedules exchange note promote prune rescue settle writeSchedules".split(
      " ",
    );
    expect(allowed).toEqual({
      enqueue,
      read,
      work: [...enqueue, ...read, ...work].sort(),
      admin: [...enqueue, ...read, ...work, "change", "configure"].sort(),
    });
  });

  it("appear in no error, no log and no printed object", async () => {
    const { logger, lines } = keepingLogger();
    await using stage = await serving({ tokens: [TOKEN], logger });
    const { url } = stage.server;
    const shown: unknown[] = [stage.server, lines];
    const attempts = [
      { url: url.replace("ws://", `ws://:${OTHER}@`) },
      { url: url.replace("ws://", `ws://:${OTHER}@`).replace(/\d+$/, "1"), deadlineMs: 50 },
      { url, token: OTHER },
      { url, token: `${OTHER} with a space` },
      { url: `ws://:${OTHER}%zz@127.0.0.1` },
      { url: `http://:${OTHER}@127.0.0.1` },
      { url: `ws://:${OTHER}@127.0.0.1/?a=b` },
      { url: `:${OTHER}@nowhere` },
    ];
    for (const options of attempts) {
      try {
        const client = new RemoteStorage({ logger, ...options });
        shown.push(client, client.label);
        await client.open().finally(() => client.close());
        throw new Error("It was let in.");
      } catch (error) {
        expect((error as { code?: string }).code).toMatch(/^JOBWRIGHT_/);
        shown.push(error);
      }
    }
    for (const tokens of [
      ["short-but-secret"].map((token) => token.slice(1)),
      [`${OTHER} x`],
      [{ token: OTHER, scopes: ["x"] }],
    ]) {
      try {
        new JobServer({ storage: stage.behind, tokens: tokens as never }).stop();
        throw new Error("It was taken.");
      } catch (error) {
        expect(error).toBeInstanceOf(InvalidOptionError);
        shown.push(error);
      }
    }
    for (const one of shown) {
      const printed = inspect(one, { depth: 12, showHidden: false }) + String((one as Error).stack ?? "");
      for (const secret of [TOKEN, OTHER, "hort-but-secret"]) expect(printed).not.toContain(secret);
    }
  });
});

describe("pages in browsers", () => {
  const knock = (port: number, headers: Record<string, string>): Promise<number> =>
    new Promise((resolve, reject) => {
      const asked = request({
        port,
        host: "127.0.0.1",
        headers: {
          connection: "Upgrade",
          upgrade: "websocket",
          "sec-websocket-version": "13",
          "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
          "sec-websocket-protocol": "jobwright",
          ...headers,
        },
      });
      asked.once("upgrade", (response, socket) => {
        socket.destroy();
        resolve(response.statusCode ?? 0);
      });
      asked.once("response", (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      });
      asked.once("error", reject);
      asked.end();
    });

  it("are refused, under whatever name they reach the server", async () => {
    await using stage = await serving();
    const { port } = stage.server;
    const table: [Record<string, string>, number][] = [
      [{}, 101],
      [{ host: "localhost" }, 101],
      [{ host: `127.0.0.1:${port}` }, 101],
      [{ host: `[::1]:${port}` }, 101],
      [{ origin: "https://example.com" }, 403],
      [{ origin: "null" }, 403],
      [{ origin: `http://127.0.0.1:${port}` }, 403],
      [{ host: "example.com" }, 421],
      [{ host: `127.0.0.1.example.com:${port}` }, 421],
      [{ host: "127.1.example" }, 421],
      [{ "sec-websocket-protocol": "chat" }, 400],
    ];
    for (const [headers, status] of table) {
      expect(await knock(port, headers), JSON.stringify(headers)).toBe(status);
    }
  });

  it("may be let in by no name but those that the server was given", async () => {
    await using stage = await serving({ hosts: ["jobs.example.com"] });
    const { port } = stage.server;
    expect(await knock(port, { host: "JOBS.example.com:80" })).toBe(101);
    expect(await knock(port, { host: "jobs.example.com.evil.example" })).toBe(421);
  });
});

describe("an address that others reach", () => {
  const storage = new MemoryStorage();
  it.each(["0.0.0.0", "::", "192.0.2.1", "example.com", "127.0.0.1.example.com"])(
    "%s wants a guard",
    (host) => {
      expect(() => new JobServer({ storage, host })).toThrow(InvalidOptionError);
      expect(() => new JobServer({ storage, host })).toThrow("Whoever reaches this address");
      expect(
        () => new JobServer({ storage, host, tls: { key: pem("server.key"), cert: pem("server.pem") } }),
      ).toThrow(InvalidOptionError);
      expect(() => new JobServer({ storage, host, tokens: [] })).toThrow(InvalidOptionError);
      expect(() => new JobServer({ storage, host, tokens: [TOKEN] })).not.toThrow();
    },
  );
  it.each(["127.0.0.1", "127.0.0.2", "localhost", "::1"])("%s is this machine's own", (host) => {
    expect(() => new JobServer({ storage, host })).not.toThrow();
  });
});

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, "close");
  return port;
}

describe("certificates", () => {
  const tls = { key: pem("server.key"), cert: pem("server.pem"), ca: pem("ca.pem") };

  it("let in whom the authority signed, and nobody else", async () => {
    await using stage = await serving({ tls });
    const { url } = stage.server;
    expect(url).toMatch(/^wss:/);
    const ca = pem("ca.pem");
    const client = await stage.client({ tls: { ca, cert: pem("client.pem"), key: pem("client.key") } });
    await client.enqueue([[newJob()]]);
    expect(await client.count({})).toEqual({ n: 1, exact: true });
    // Without a certificate, with that of another authority, and without knowing who signed the server's.
    for (const other of [
      { ca },
      { ca, cert: pem("stranger.pem"), key: pem("stranger.key") },
      { cert: pem("client.pem"), key: pem("client.key") },
    ]) {
      const refused = stage.client({ tls: other, deadlineMs: 300 });
      await expect(refused).rejects.toMatchObject({ code: expect.stringMatching(/^JOBWRIGHT_/) });
    }
    // Plain text is not answered.
    await expect(stage.client({ url: url.replace("wss:", "ws:"), deadlineMs: 300 })).rejects.toBeInstanceOf(
      StorageUnavailableError,
    );
  });

  it("that cannot be read are refused, and nobody is let in on the other side", async () => {
    const behind = new MemoryStorage();
    const zmq = { address: `tcp://127.0.0.1:${await freePort()}` };
    const server = new JobServer({ storage: behind, port: 0, tls: { key: "no key", cert: tls.cert }, zmq });
    await expect(server.start()).rejects.toThrow(/^tls is "a key or a certificate"/);
    // Its address is free: another server has it.
    await using other = await serving({ zmq });
    expect(other.server.zmqUrl).toContain(zmq.address.slice("tcp".length));
  });

  it("do not stand in for a token: whoever has one of few scopes would leave it out", async () => {
    await using stage = await serving({ tls, tokens: [{ token: TOKEN, scopes: ["enqueue"] }] });
    const own = { ca: pem("ca.pem"), cert: pem("client.pem"), key: pem("client.key") };
    await expect(stage.client({ tls: own })).rejects.toThrow("wants a token");
    const client = await stage.client({ tls: own, token: TOKEN });
    await client.enqueue([[newJob()]]);
    await expect(client.count({})).rejects.toBeInstanceOf(AccessDeniedError);
    // And a token does not stand in for a certificate.
    const without = stage.client({ tls: { ca: own.ca }, token: TOKEN, deadlineMs: 300 });
    await expect(without).rejects.toMatchObject({ code: expect.stringMatching(/^JOBWRIGHT_/) });
  });

  it("of the server alone still want a token from the client", async () => {
    await using stage = await serving({ tls: { key: tls.key, cert: tls.cert }, tokens: [TOKEN] });
    const ca = pem("ca.pem");
    await expect(stage.client({ tls: { ca } })).rejects.toBeInstanceOf(AccessDeniedError);
    expect((await (await stage.client({ tls: { ca }, token: TOKEN })).lanes()).lanes).toEqual([]);
  });
});

describe("limits", () => {
  it("of calls slow a client down, and fail nothing", async () => {
    await using stage = await serving({ callsPerSecond: 200 });
    const client = await stage.client();
    const other = await stage.client();
    const calls = 300;
    let ended = 0;
    const all = Array.from({ length: calls }, async () => {
      await client.lanes();
      ended += 1;
    });
    // Others do not wait for it.
    await other.lanes();
    expect(ended).toBeLessThan(calls);
    await Promise.all(all);
    expect(ended).toBe(calls);
  });

  it("count every message: a flood of pings costs what one of calls does", async () => {
    await using stage = await serving({ callsPerSecond: 100, heartbeat: "1s" });
    await using raw = await RawClient.greeted(stage.server.url);
    await raw.next();
    raw.send(...Array.from({ length: 200 }, (_, index) => ["ping", index]));
    for (let pong = 0; pong < 200; pong += 1) expect((await raw.next())[1]).toBe(pong);
    // A hundred were free; the other hundred are owed, and take their second before more is read.
    const began = performance.now();
    raw.send(["ping", 200]);
    expect((await raw.next())[1]).toBe(200);
    expect(performance.now() - began).toBeGreaterThan(500);
  });

  it("of connections are told with the way out, and free places are given again", async () => {
    await using stage = await serving({ maxConnections: 2 });
    const first = await stage.client();
    await stage.client();
    const refused = stage.client({ deadlineMs: 200 });
    await expect(refused).rejects.toBeInstanceOf(StorageUnavailableError);
    await expect(refused).rejects.toThrow("There are 2 connections already.");
    const waiting = stage.client();
    await first.close();
    // The one that was refused is not there any more, to take it.
    expect((await (await waiting).lanes()).lanes).toEqual([]);
  });
});
