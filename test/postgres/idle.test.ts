import { beforeAll, describe, expect, it } from "vitest";
import { startServer } from "../support/postgres/server.ts";
import { size } from "../support/size.ts";
import { buildMembers, figure, Fleet, type Member, pause, TIMEOUT_MS } from "./faults/fleet.ts";
import { loudestSecond } from "./faults/outages.ts";
import { problemsIn } from "./faults/server-log.ts";

// Goal: a worker that has nothing to do costs the database and its own machine next to nothing.
// Method: a process with all options at their defaults; the server logs every statement, the process tells the
// time it has used.

beforeAll(buildMembers);

/** The share of a core that a process needs over some time, and how long that was exactly. */
async function shareOf(
  fleet: Fleet,
  member: Member,
  seconds: number,
): Promise<{ share: number; lastedS: number }> {
  const usedMs = async (): Promise<number> => {
    const known = member.tells("usage").length;
    member.send("usage");
    await fleet.until("the worker tells what it has used", () => member.tells("usage").length > known);
    const { user, system } = member.tells("usage").at(-1) as NodeJS.CpuUsage;
    return (user + system) / 1_000;
  };
  const before = { usedMs: await usedMs(), at: performance.now() };
  await pause(seconds * 1_000);
  const lastedMs = performance.now() - before.at;
  return { share: ((await usedMs()) - before.usedMs) / lastedMs, lastedS: lastedMs / 1_000 };
}

describe("an idle worker", { timeout: TIMEOUT_MS }, () => {
  it("asks at most twice a second and needs at most 1 % of a core, and little more while the server is away", async () => {
    await using server = await startServer({ fsync: true, settings: { log_statement: "all" } });
    await using fleet = new Fleet(server);
    const [worker] = (await fleet.launchAll(["worker"])) as [Member];
    // Compiling and connecting are over by then.
    await pause(2_000);
    const from = fleet.log().length;
    const { share, lastedS } = await shareOf(fleet, worker, size(10, 60));
    const log = fleet.log().slice(from);
    const kinds = new Map<string, number>();
    for (const [, text = ""] of log.matchAll(/ jobwright LOG: {2}(?:statement|execute [^:]*): (.*)/g)) {
      const kind = /"jobwright"\.(\w+)\(/.exec(text)?.[1] ?? text.slice(0, 30);
      kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    }
    const statements = [...kinds.values()].reduce((sum, n) => sum + n, 0);
    expect(problemsIn(fleet.log(), [])).toEqual([]);

    await fleet.down("fast");
    const away = await shareOf(fleet, worker, size(3, 30));
    await fleet.up();
    const listens = (): boolean =>
      fleet.entries().some((entry) => entry.what === "line" && entry.text.includes("LISTEN works again"));
    await fleet.until("LISTEN works again", listens);
    await fleet.end(worker);
    const { said, shown } = loudestSecond(fleet.entries());
    figure(
      `idle: ${(statements / lastedS).toFixed(2)} queries a second and ${percent(share)} of a core over ` +
        `${lastedS.toFixed(0)} s (${[...kinds].map(([kind, n]) => `${kind} ${n}`).join(", ")}); while the server is ` +
        `away ${percent(away.share)} of a core and at most ${said} lines said in a second`,
    );
    // It did look, beat, and see to what is due.
    expect(statements).toBeGreaterThan(3);
    // Of each kind one more than its share may fall into a window as short as this.
    expect((statements - kinds.size) / lastedS).toBeLessThanOrEqual(2);
    // The goals are 1 % and 5 %, the figure says what it is; the bounds leave room for a machine with much else to do.
    expect(share).toBeLessThan(0.05);
    expect(away.share).toBeLessThan(0.2);
    expect(shown).toBeLessThanOrEqual(10);
  });
});

function percent(share: number): string {
  return `${(share * 100).toFixed(2)} %`;
}
