import { beforeAll, describe, expect, it } from "vitest";
import { startServer } from "../../support/postgres/server.ts";
import { randomFrom, seed, size } from "../../support/size.ts";
import { buildMembers, figure, Fleet, type Member, pause, shown, TIMEOUT_MS } from "./fleet.ts";
import { OUTAGES } from "./server-log.ts";

// Goal: a server that is restarted under load, in order or not, costs nothing that was acknowledged, ends no
// process, and work goes on by itself as soon as it is back.
// Method: workers and a spawner in processes of their own on a server of the test's own, which is stopped or
// killed at random instants and started again. All write down what they are answered; the history is judged.

const WORKERS = 2;

beforeAll(buildMembers);

describe("a server that goes away under load", { timeout: TIMEOUT_MS }, () => {
  it("fast, immediately or by kill -9, loses nothing and is waited for", async () => {
    const rounds = size(1, 5);
    const random = randomFrom(seed("restarts"));
    await using server = await startServer({ fsync: true });
    await using fleet = new Fleet(server);
    const [spawner, ...workers] = await fleet.launchAll(
      ["spawner", { seed: Math.floor(random() * 2 ** 31), paceMs: 25 }],
      ...Array.from({ length: WORKERS }, () => ["worker"] as [string]),
    );
    for (let round = 0; round < rounds; round += 1) {
      for (const how of ["fast", "immediate", "kill"] as const) {
        await fleet.progress(60);
        await pause(random() * 300);
        await fleet.outage(how, random() * size(500, 4_000));
        await fleet.allAtWork();
      }
    }
    await fleet.finish([spawner as Member], workers);

    const { problems, acknowledged, runs, voids, recoveredMs, linesPerSecond } = await fleet.judge({
      allowed: OUTAGES,
    });
    expect(problems).toEqual([]);
    const oldestMs = Math.max(0, ...voids.map(({ beforeCrash }) => beforeCrash)) / 1_000;
    const refused = voids.reduce((sum, one) => sum + one.refused, 0);
    figure(
      `restarts: ${rounds} × fast, immediate, kill -9 under load, ${acknowledged} jobs acknowledged and completed, ` +
        `${runs} runs; ${voids.length} claims taken back by crashes (at most ${shown(oldestMs)} old), ` +
        `${refused} settles under them refused; every process at work at most ${shown(recoveredMs)} after the ` +
        `return; at most ${linesPerSecond} lines said in a second by a process`,
    );
    expect(acknowledged).toBeGreaterThan(200 * rounds);
  });
});
