import { beforeAll, describe, expect, it } from "vitest";
import { StorageUnavailableError } from "../../../src/errors.ts";
import { silentLogger } from "../../../src/logger.ts";
import { PostgresStorage } from "../../../src/storage/postgres/index.ts";
import type { Lease, Settlement } from "../../../src/storage/storage.ts";
import { TcpProxy } from "../../support/postgres/proxy.ts";
import { startServer } from "../../support/postgres/server.ts";
import { isLong, randomFrom, seed, size } from "../../support/size.ts";
import { beat, enqueue, job, request } from "./direct.ts";
import { buildMembers, figure, Fleet, type Member, pause, shown, TIMEOUT_MS } from "./fleet.ts";
import { type Allowed, GIVEN_UP, problemsIn } from "./server-log.ts";

// Goal: a network that swallows, delays, cuts or resets costs nothing that was acknowledged, makes nothing twice,
// and work goes on by itself: as soon as calls have given up where nobody says that a connection is dead.
// Method: processes under load behind a proxy that does these things to them at random instants.

/** How long calls may take: what bounds the time to notice a connection that died without a word. */
const DEADLINE_MS = 2_000;

const ALLOWED: readonly Allowed[] = [
  ...GIVEN_UP,
  {
    text: /FATAL: {2}terminating connection due to idle-in-transaction timeout/,
    why: "a transaction whose client has fallen silent gives its locks back",
  },
];

beforeAll(buildMembers);

describe("a network with faults, under load", { timeout: TIMEOUT_MS }, () => {
  it("half-open, away, cut and reset connections", async () => {
    const rounds = size(1, 10);
    const random = randomFrom(seed("network"));
    await using server = await startServer({ fsync: true });
    await using proxy = await TcpProxy.start(server.port);
    await using fleet = new Fleet(server, { url: proxy.url(server.url) });
    const storage = { deadlineMs: DEADLINE_MS };
    const [spawner, ...workers] = await fleet.launchAll(
      ["spawner", { seed: Math.floor(random() * 2 ** 31), paceMs: 20, fail: 0.3, storage }],
      ["worker", { storage }],
      ["worker", { storage }],
    );
    const longestMs: Record<string, number> = {};
    const fault = async (name: string, strike: () => unknown): Promise<void> => {
      await fleet.progress(20);
      await pause(random() * 100);
      await strike();
      const at = performance.now();
      fleet.note("back");
      await fleet.allAtWork();
      longestMs[name] = Math.max(longestMs[name] ?? 0, performance.now() - at);
    };
    for (let round = 0; round < rounds; round += 1) {
      await fault("half-open", () => {
        for (const connection of proxy.connections) connection.freeze();
      });
      await fault("answers lost", () => {
        for (const connection of proxy.connections) connection.freeze("answers");
      });
      // What those have swallowed never arrives.
      for (const connection of proxy.connections) connection.reset();
      await fault("cut", () => proxy.cut());
      await fault("reset", () => proxy.reset());
      await fault("network away", async () => {
        proxy.freeze();
        await pause(size(500, 8_000));
        // What was sent meanwhile arrives now.
        proxy.heal();
      });
      await fault("refused", async () => {
        await proxy.refuse();
        proxy.reset();
        await pause(size(500, 8_000));
        await proxy.accept();
      });
    }
    proxy.heal();
    await fleet.finish([spawner as Member], workers);
    const { problems, acknowledged, runs, linesPerSecond } = await fleet.judge({ allowed: ALLOWED });
    expect(problems).toEqual([]);
    figure(
      `network: ${rounds} × each fault, ${acknowledged} jobs acknowledged and completed in ${runs} runs; every ` +
        `process at work again after ${Object.entries(longestMs)
          .map(([name, ms]) => `${name} ${shown(ms)}`)
          .join(", ")} ` +
        `(calls give up after ${DEADLINE_MS} ms); at most ${linesPerSecond} lines said in a second by a process`,
    );
    expect(acknowledged).toBeGreaterThan(100);
  });

  it("a connection that falls silent within a transaction of ours keeps its jobs from nobody for long", async () => {
    await using server = await startServer({ fsync: true });
    await using proxy = await TcpProxy.start(server.port);
    const open = async (url: string, deadlineMs: number): Promise<PostgresStorage> => {
      const storage = new PostgresStorage({ url, deadlineMs, logger: silentLogger });
      await storage.open();
      return storage;
    };
    const cutOff = await open(proxy.url(server.url), 2_000);
    const other = await open(server.url, 60_000);
    await cutOff.beat(beat("cut off", true));
    await enqueue(cutOff, job(0));
    const { jobs } = await cutOff.claim(request("cut off", 1, 1));
    const retry: Settlement = {
      lease: jobs[0] as Lease,
      outcome: { state: "scheduled", later: { delayMs: 60_000 }, attempt: "kept" },
      startedAt: 0,
    };
    proxy.delay(50);
    const failed = cutOff.settle([retry]).catch((error: unknown) => error);
    const isWithin =
      "select 1 from pg_stat_activity where state = 'idle in transaction' and query like '%hold_runs%'";
    while ((await server.query(isWithin)).length === 0);
    proxy.freeze();
    const at = performance.now();
    // The server does not know that nobody is there any more, and the job is locked.
    expect(await other.settle([retry])).toEqual(["settled"]);
    const waitedMs = performance.now() - at;
    expect(await failed).toBeInstanceOf(StorageUnavailableError);
    expect(problemsIn(server.log(), ALLOWED)).toEqual([]);
    figure(`network: a job locked by a connection that fell silent was free after ${shown(waitedMs)}`);
    await other.close();
    proxy.reset();
    proxy.heal();
    await cutOff.close();
  });

  // The small run has seen the same with short deadlines: with the defaults it takes a minute.
  it.runIf(isLong)("half-open connections, with defaults (a minute: in the long run only)", async () => {
    await using server = await startServer({ fsync: true });
    await using proxy = await TcpProxy.start(server.port);
    await using fleet = new Fleet(server, { url: proxy.url(server.url) });
    const [spawner, ...workers] = await fleet.launchAll(["spawner", { seed: 1 }], ["worker"], ["worker"]);
    await fleet.progress(50);
    for (const connection of proxy.connections) connection.freeze();
    const at = performance.now();
    fleet.note("back");
    await fleet.allAtWork();
    const workMs = performance.now() - at;
    const listens = (): boolean =>
      fleet.entries().some((entry) => entry.what === "line" && entry.text.includes("LISTEN works again"));
    await fleet.until("LISTEN works again", listens, 120_000);
    figure(
      `half-open with defaults: every process at work after ${shown(workMs)}, LISTEN after ${shown(performance.now() - at)}`,
    );
    await fleet.finish([spawner as Member], workers);
    // Calls give up after 30 s.
    const { problems } = await fleet.judge({ allowed: ALLOWED, recoveryMsMax: 60_000 });
    expect(problems).toEqual([]);
  });
});
