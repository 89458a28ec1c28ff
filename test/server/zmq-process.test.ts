// Goal: ZeroMQ neither holds a process nor kills it. It would abort one whose thread ends while a socket waits, and
// keep one alive for messages that nobody takes.
// Method: programs of their own, which must end by themselves; `zmq-child.ts` has them.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { RemoteStorage } from "../../src/storage/remote/index.ts";
import { root } from "../support/built.ts";
import { command } from "../support/command.ts";
import { keepingLogger } from "./support/lines.ts";

const CHILD = fileURLToPath(new URL("zmq-child.ts", import.meta.url));

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A server in a process of its own, killed at the end as it would be by the kernel. */
async function serve(port: string): Promise<{ url: string; kill: () => Promise<unknown> }> {
  const child = spawn(process.execPath, ["--import", "jiti/register", CHILD, "serve", port], {
    cwd: root,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(child, "exit");
  const kill = async (): Promise<unknown> => {
    child.kill("SIGKILL");
    return ended;
  };
  cleanups.push(kill);
  const [said] = (await once(child.stdout, "data")) as [Buffer];
  return { url: said.toString().trim(), kill };
}

/** What the program said, once it has ended with status 0. */
async function run(what: string): Promise<string[]> {
  const output = await command(process.execPath, ["--import", "jiti/register", CHILD, what], root);
  return output.trim().split("\n");
}

describe("a process with ZeroMQ", () => {
  it("has one context for all its servers and clients, and ends once they are closed", async () => {
    // One thread that carries messages and one that tidies up, whatever the number of roles.
    const threads = process.platform === "linux" ? ["threads of ZeroMQ: 2"] : [];
    expect(await run("roles")).toEqual([...threads, "closed"]);
  });

  it("ends with undelivered messages, a second after its close", async () => {
    expect(await run("undelivered-closed")).toEqual(["waiting", "closed", expect.stringMatching(/^over: /)]);
  });

  it("ends with undelivered messages and no close at all", async () => {
    expect(await run("undelivered-exit")).toEqual(["waiting"]);
  });

  it("refuses it in a worker thread, and outlives the thread", async () => {
    const refusal = expect.stringMatching(/^StateError: ZeroMQ cannot be used in a worker thread/);
    expect(await run("thread")).toEqual([refusal, refusal, "alive"]);
  });

  it("is found again after its server was killed, with every call made meanwhile", async () => {
    const { url, kill } = await serve("0");
    const { logger, lines } = keepingLogger();
    const client = new RemoteStorage({ url, logger, deadlineMs: 60_000 });
    cleanups.push(() => client.close());
    await client.open();
    expect(await client.count({})).toEqual({ n: 0, exact: true });
    await kill();
    const calls = Array.from({ length: 50 }, () => client.count({}));
    const next = await serve(new URL(url).port);
    expect(next.url).toBe(url);
    for (const call of calls) expect(await call).toEqual({ n: 0, exact: true });
    // It saw the end of the connection, and did not have to find out by silence.
    expect(lines[0]).toContain("the connection was lost");
  });

  it("says what to install where the package is missing", async () => {
    const missing = 'MissingDependencyError: zmq:// needs the package "zeromq". Run: npm install zeromq';
    expect(await run("missing-client")).toEqual([missing]);
    expect(await run("missing-server")).toEqual([missing]);
  });
});
