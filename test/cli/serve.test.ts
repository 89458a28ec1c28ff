import { readFileSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { connect } from "../../src/connect.ts";
import { defineJob } from "../../src/job/definition.ts";
import { silentLogger } from "../../src/logger.ts";
import { LmdbStorage } from "../../src/storage/lmdb/index.ts";
import { RemoteStorage } from "../../src/storage/remote/index.ts";
import { root } from "../support/built.ts";
import { begin, type Going, run, type Surroundings } from "./fake-terminal.ts";
import { type Folder, folder } from "./store.ts";

// Goal: `jobwright serve` offers what it says to whom it says, from the line it prints until it is told to stop.

const TOKEN = "s3cret-token-of-the-test";
const OTHER = "s3cret-token-for-looking";
const certs = join(root, "test/server/support/certs");
const ping = defineJob({ name: "ping", run: () => "pong" });

let place: Folder;
let going: Going | undefined;
beforeEach(() => (place = folder()));
afterEach(async () => {
  vi.restoreAllMocks();
  await going?.terminal.signal();
  going = undefined;
  place[Symbol.dispose]();
});

interface Ready {
  readonly url: string;
  readonly port: number;
  readonly zmqUrl: string | null;
  readonly storage: string;
}

async function serve(args: readonly string[], surroundings: Surroundings = {}): Promise<Ready> {
  going = await begin(
    ["serve", ...args, "--json", ...(args.includes("--port") ? [] : ["--port", "0"])],
    /\n/,
    surroundings,
  );
  expect(going.terminal.errors).toBe("");
  return JSON.parse(going.terminal.text) as Ready;
}

async function end(): Promise<number | undefined> {
  await going?.terminal.signal();
  const ran = await going?.ended;
  expect(ran?.out + (ran?.error ?? "")).not.toContain("s3cret");
  expect(going?.terminal.isHeld).toBe(false);
  return ran?.code;
}

describe("jobwright serve", () => {
  it("serves a store until it is told to stop, and lets go of it", async () => {
    const { url, port, storage, zmqUrl } = await serve([place.url]);
    expect({ url, storage, zmqUrl }).toEqual({
      url: `ws://127.0.0.1:${port}`,
      storage: place.url,
      zmqUrl: null,
    });
    const stored = await run(["enqueue", "ping", "--url", url, "--json"]);
    expect(stored).toMatchObject({ code: 0, error: "" });
    const { id } = JSON.parse(stored.out) as { id: string };
    await using jobs = await connect(url, { logger: silentLogger });
    const worker = jobs.worker([ping]);
    await worker.start();
    expect(await jobs.handle(id).result({ timeout: "30s" })).toBe("pong");
    await worker.stop();
    const closed = vi.spyOn(LmdbStorage.prototype, "close");
    expect(await end()).toBe(0);
    expect(closed).toHaveBeenCalledOnce();
    expect(await run(["stats", "--url", url, "--timeout", "300ms"])).toMatchObject({ code: 3, out: "" });
    expect((await place.use((own) => own.get(id)))?.state).toBe("completed");
  });

  it("serves jobs in memory, and says for people where", async () => {
    going = await begin(["serve", "memory:", "--port", "0"], /\n/);
    expect(going.terminal.text).toMatch(/^Serving memory at ws:\/\/127\.0\.0\.1:\d+\n$/);
    const url = /ws:\S+/.exec(going.terminal.text)?.[0] ?? "";
    expect(await run(["enqueue", "ping", "--url", url])).toMatchObject({ code: 0 });
    expect((await run(["jobs", "list", "--url", url])).out).toMatch(/^\d+ +available +ping/m);
    expect(await end()).toBe(0);
  });

  it("asks for a token: from flags, the environment, or a file with scopes", async () => {
    const file = join(place.path, "tokens");
    writeFileSync(file, `# who may come in\n\n${TOKEN}\n${OTHER} read\n`);
    for (const [args, env] of [
      [["--token", OTHER, "--token", TOKEN], {}],
      [[], { JOBWRIGHT_TOKENS: `${OTHER} ${TOKEN}` }],
      [["--token-file", file], { JOBWRIGHT_TOKENS: "another-token-altogether" }],
    ] as const) {
      const { url } = await serve([place.url, ...args], { env });
      const as = (token: string): string[] => ["--url", url.replace("//", `//:${token}@`)];
      expect(await run(["stats", ...as(TOKEN)])).toMatchObject({ code: 0, error: "" });
      expect(await run(["stats", ...as(OTHER)])).toMatchObject({ code: 0, error: "" });
      for (const bad of [as("s3cret-token-that-is-not-known"), ["--url", url]]) {
        const { code, out, error } = await run(["stats", ...bad]);
        expect({ code, out }).toEqual({ code: 1, out: "" });
        expect(error).toMatch(/token/);
        expect(error).not.toContain("s3cret");
      }
      const mayWrite = (await run(["enqueue", "ping", ...as(OTHER)])).code === 0;
      expect(mayWrite).toBe(!args.includes("--token-file" as never));
      expect(await end()).toBe(0);
    }
  });

  it("takes its settings from the config file where nothing else says them", async () => {
    writeFileSync(join(place.path, "tokens"), TOKEN);
    writeFileSync(
      join(place.path, "jobwright.config.json"),
      JSON.stringify({ serve: { storage: "lmdb:jobs", port: 0, host: "127.0.0.2", tokenFile: "tokens" } }),
    );
    going = await begin(["serve", "--json"], /\n/, { cwd: place.path });
    const { url, storage } = JSON.parse(going.terminal.text) as Ready;
    expect(url).toMatch(/^ws:\/\/127\.0\.0\.2:/);
    expect(storage).toBe(place.url);
    expect(await run(["stats", "--url", url])).toMatchObject({ code: 1 });
    expect(await end()).toBe(0);
  });

  it("answers to the names by which a proxy leads to it, and to no other", async () => {
    writeFileSync(
      join(place.path, "jobwright.config.json"),
      '{ "serve": { "names": ["file.example.com"] } }',
    );
    const statusOf = (port: number, host: string): Promise<number | undefined> =>
      new Promise((resolve, reject) => {
        const asked = get(
          { host: "127.0.0.1", port, path: "/metrics", headers: { host }, agent: false },
          (answer) => {
            answer.resume();
            resolve(answer.statusCode);
          },
        );
        asked.once("error", reject);
      });
    for (const [args, names] of [
      [
        ["--name", "a.example.com", "--name", "b.example.com"],
        ["a.example.com", "b.example.com"],
      ],
      [[], ["file.example.com"]],
    ] as const) {
      const { port } = await serve([place.url, ...args], { cwd: place.path });
      for (const name of names) expect(await statusOf(port, name)).toBe(200);
      expect(await statusOf(port, "c.example.com")).toBe(421);
      expect(await end()).toBe(0);
    }
  });

  it("serves wss: to those whom its authority knows", async () => {
    const tls = ["--tls-cert", join(certs, "server.pem"), "--tls-key", join(certs, "server.key")];
    const { url } = await serve([place.url, ...tls, "--tls-ca", join(certs, "ca.pem"), "--host", "0.0.0.0"]);
    expect(url).toMatch(/^wss:\/\/127\.0\.0\.1:/);
    expect(await run(["stats", "--url", url, "--timeout", "300ms"])).toMatchObject({ code: 3, out: "" });
    const read = (name: string): string => readFileSync(join(certs, name), "utf8");
    const storage = new RemoteStorage({
      url: url.replace("127.0.0.1", "localhost"),
      tls: { ca: read("ca.pem"), cert: read("client.pem"), key: read("client.key") },
      logger: silentLogger,
    });
    await using jobs = await connect(storage, { logger: silentLogger });
    expect(await jobs.count()).toEqual({ n: 0, exact: true });
    expect(await end()).toBe(0);
  });

  it("serves ZeroMQ, too", async () => {
    const { zmqUrl } = await serve([place.url, "--zmq", "tcp://127.0.0.1:0"]);
    expect(zmqUrl).toMatch(/^zmq:\/\/127\.0\.0\.1:\d+/);
    expect(await run(["enqueue", "ping", "--url", zmqUrl ?? ""])).toMatchObject({ code: 0, error: "" });
    expect(await end()).toBe(0);
  });

  it.each<[string, string[], RegExp]>([
    ["another address without a token", ["memory:", "--host", "0.0.0.0"], /^host is "0\.0\.0\.0"/],
    ["a short token", ["memory:", "--token", "s3cret"], /a text of 6 characters/],
    ["a port that is none", ["memory:", "--port", "70000"], /^port is 70000/],
    ["a port in words", ["memory:", "--port", "http"], /^--port is "http"/],
    ["nothing to serve", [], /<storage-url>/],
    ["an unknown storage", ["mysql://u:s3cret@h/d"], /^connect is "mysql:…"/],
    ["two storages", ["memory:", "memory:"], /too many arguments/i],
    ["a certificate without its key", ["memory:", "--tls-cert", join(certs, "server.pem")], /--tls-key/],
    ["a key without its certificate", ["memory:", "--tls-key", join(certs, "server.key")], /--tls-cert/],
    [
      "a certificate that is not there",
      ["memory:", "--tls-cert", "nowhere", "--tls-key", "nowhere"],
      /ENOENT/,
    ],
    ["a token file that is not there", ["memory:", "--token-file", "nowhere"], /ENOENT/],
    ["a token file without tokens", ["memory:", "--token-file", "/dev/null"], /holds no token/],
  ])("refuses %s", async (_, args, message) => {
    const { code, out, error } = await run(["serve", ...args]);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(error).toMatch(message);
    expect(error).toMatch(/^[^\n]+\n$/);
    expect(error).not.toContain("s3cret");
  });

  it("says so when the port is taken, and lets go of its store", async () => {
    const other = createServer();
    await new Promise<void>((resolve) => void other.listen(0, "127.0.0.1", resolve));
    const { port } = other.address() as { port: number };
    const { code, out, error } = await run(["serve", place.url, "--port", String(port)]);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(error).toMatch(/Another program listens there/);
    await new Promise((resolve) => void other.close(resolve));
    await serve([place.url, "--port", String(port)]);
    expect(await end()).toBe(0);
  });

  it("ends with 1 when an error is caught by nobody", async () => {
    await serve([place.url]);
    going?.terminal.stray(new Error("nobody caught it"));
    expect(await going?.ended).toMatchObject({
      ...{ code: 1, error: "an error that nobody caught: Error: nobody caught it. It stops.\n" },
    });
  });

  it("tells in one line that its storage cannot be reached", async () => {
    const url = "postgres://jobs:s3cret@127.0.0.1:1/jobs";
    const { code, out, error } = await run(["serve", url, "--port", "0", "--timeout", "200ms"]);
    expect({ code, out }).toEqual({ code: 3, out: "" });
    expect(error.trim().split("\n").at(-1)).toMatch(
      /^postgres:\/\/127\.0\.0\.1:1\/jobs#jobwright did not answer/,
    );
    expect(error).not.toContain("s3cret");
  });
});
