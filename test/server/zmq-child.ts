// A program of zmq-process.test.ts: does what it is named, says what came of it, and has nothing left to do.
import { readdirSync, readFileSync } from "node:fs";
import Module from "node:module";
import { fileURLToPath } from "node:url";
import { isMainThread, Worker } from "node:worker_threads";
import { connect } from "../../src/connect.ts";
import { curveKeyPair, JobServer } from "../../src/server/index.ts";
import { MemoryStorage } from "../../src/storage/memory/index.ts";
import { dialZmq } from "../../src/storage/remote/dial-zmq.ts";
import { RemoteStorage } from "../../src/storage/remote/index.ts";
import type { Channel } from "../../src/wire/channel.ts";

const say = (what: string): void => void process.stdout.write(`${what}\n`);
const told = (error: unknown): string => {
  const { name, message } = error as Error;
  return `${name}: ${message}`;
};
const FREE = "tcp://127.0.0.1:0";

/** What must not be given back by the garbage collector before. */
const programsEnd: unknown[] = [];

/** A connection to somebody who takes hands but never reads, with far more sent than anything between could hold. */
async function undelivered(): Promise<Channel> {
  const zmq = await import("zeromq");
  const deaf = new zmq.Router({ linger: 0, receiveHighWaterMark: 1 });
  await deaf.bind(FREE);
  const channel = await dialZmq((deaf.lastEndpoint ?? "").replace("tcp:", "zmq:"), {}).connect(10_000);
  channel.listen({ frame: () => undefined, closed: (reason) => say(`over: ${reason}`) });
  for (let frame = 0; frame < 100; frame += 1) channel.send(Buffer.alloc(1_048_576));
  // Until nothing more is taken.
  let before = -1;
  while (channel.queuedBytes !== before) {
    before = channel.queuedBytes;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  say(before > 0 ? "waiting" : "delivered");
  // Still connected, until the end of the process.
  programsEnd.push(deaf);
  return channel;
}

/** As if it were not installed, for whatever loader there is. */
function withoutPackage(): void {
  const loader = Module as unknown as Record<"_load", (request: string, ...rest: unknown[]) => unknown>;
  const { _load: load } = loader;
  loader["_load"] = (request, ...rest) => {
    if (!/(^|[\\/])zeromq([\\/]|$)/.test(request)) return load(request, ...rest);
    throw Object.assign(new Error("Cannot find package 'zeromq'"), { code: "ERR_MODULE_NOT_FOUND" });
  };
}

const programs: Readonly<Record<string, () => Promise<void>>> = {
  /** All roles, then an orderly end of each. */
  roles: async () => {
    const [own, friend] = [curveKeyPair(), curveKeyPair()];
    const storage = new MemoryStorage();
    const open = new JobServer({ storage, port: 0, zmq: { address: FREE } });
    const keyed = new JobServer({
      storage,
      port: 0,
      zmq: { address: FREE, secretKey: own.secretKey, clients: [friend.publicKey] },
    });
    await Promise.all([open.start(), keyed.start()]);
    const urls = [
      open.zmqUrl,
      open.zmqUrl,
      `${keyed.zmqUrl}&secretKey=${encodeURIComponent(friend.secretKey)}`,
    ];
    const clients = await Promise.all(urls.map((url) => connect(url)));
    for (const jobs of clients) await jobs.count({ state: "available" });
    if (process.platform === "linux") {
      const names = readdirSync("/proc/self/task").map((id) =>
        readFileSync(`/proc/self/task/${id}/comm`, "utf8"),
      );
      say(`threads of ZeroMQ: ${names.filter((name) => name.startsWith("ZMQ")).length}`);
    }
    for (const jobs of clients) await jobs.close();
    await Promise.all([open.stop(), keyed.stop()]);
    say("closed");
  },
  /** A server until it is killed, on the port given. */
  serve: async () => {
    const address = `tcp://127.0.0.1:${process.argv[3] ?? "0"}`;
    const server = new JobServer({ storage: new MemoryStorage(), port: 0, zmq: { address } });
    await server.start();
    say(server.zmqUrl);
  },
  "undelivered-closed": async () => {
    const channel = await undelivered();
    channel.close("enough");
    say("closed");
  },
  "undelivered-exit": async () => {
    await undelivered();
    process.exit();
  },
  thread: async () => {
    if (isMainThread) {
      const worker = new Worker(fileURLToPath(import.meta.url), {
        argv: ["thread"],
        execArgv: ["--import", "jiti/register"],
      });
      await new Promise((resolve, reject) => worker.once("exit", resolve).once("error", reject));
      return say("alive");
    }
    const storage = new MemoryStorage();
    await connect("zmq://127.0.0.1:7421").catch((error: unknown) => say(told(error)));
    try {
      say(new JobServer({ storage, zmq: {} }).url);
    } catch (error) {
      say(told(error));
    }
    process.exit();
  },
  "missing-client": async () => {
    withoutPackage();
    const client = new RemoteStorage({ url: "zmq://127.0.0.1:1", deadlineMs: 1_000 });
    await client.open().catch((error: unknown) => say(told(error)));
    await client.close();
  },
  "missing-server": async () => {
    withoutPackage();
    const server = new JobServer({ storage: new MemoryStorage(), port: 0, zmq: { address: FREE } });
    await server.start().catch((error: unknown) => say(told(error)));
    await server.stop();
  },
};

const what = process.argv[2] ?? "";
await programs[what]?.();
