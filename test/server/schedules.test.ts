import { describe, expect, it } from "vitest";
import { AccessDeniedError, connect, defineJob, json } from "../../src/index.ts";
import { limits } from "../../src/job/limits.ts";
import { RemoteStorage } from "../../src/storage/remote/index.ts";
import type { ScheduleWrite } from "../../src/storage/storage.ts";
import { wireLimits } from "../../src/wire/limits.ts";
import { newJob } from "./support/job.ts";
import { serving } from "./support/serving.ts";

// Goal: what schedules may at most be and make crosses the wire: else one of them would end its connection, and be due
// again on the next one, for ever.

describe("schedules behind a server", () => {
  it("make up for as many ticks as they may, with the largest payload, in one step", async () => {
    await using stage = await serving();
    const client = await stage.client();
    const payload = JSON.stringify("x".repeat(limits.payloadBytes - 2));
    // Those that were missed, and some that are on time.
    const ticks = limits.missedTicks + 100;
    expect(ticks * payload.length).toBeGreaterThan(wireLimits.frameBytes);
    const jobs = Array.from({ length: ticks }, (_, index) => newJob({ payload, later: { at: index + 1 } }));
    const write = { key: "k", expected: 0, row: { text: "{}", nextAt: null }, jobs };
    const [result] = await client.writeSchedules([write]);
    expect(result?.ok === true && result.jobs.length).toBe(ticks);
    expect(await stage.behind.count({})).toEqual({ n: ticks, exact: true });
    const { jobs: found } = await stage.behind.list({ state: "available", limit: 1 });
    expect(found[0]?.payload === payload).toBe(true);
  });

  it("are written in as many calls as their text needs, answered in order", async () => {
    await using stage = await serving();
    const client = await stage.client();
    const text = "t".repeat(limits.scheduleText);
    const write = (index: number): ScheduleWrite => ({
      key: `k${index}`,
      // The last one is somebody else's.
      expected: index === 299 ? 7 : 0,
      row: { text, nextAt: index },
    });
    const results = await client.writeSchedules(Array.from({ length: 300 }, (_, index) => write(index)));
    expect(results.map(({ ok }) => ok)).toEqual(Array.from({ length: 300 }, (_, index) => index < 299));
    const page = await (await fetch(`http://127.0.0.1:${stage.server.port}/metrics`)).text();
    const calls = /^jobwright_server_calls_total\{method="writeSchedules"\} (\d+)$/m.exec(page)?.[1];
    expect(Number(calls)).toBe(3);
    const { due } = await client.dueSchedules(1_000);
    expect(due.map(({ key }) => key)).toEqual(Array.from({ length: 299 }, (_, index) => `k${index}`));
    expect((await client.schedules()).every((one) => one.text === text)).toBe(true);
  });

  it("are shown to whoever may look", async () => {
    const token = "read-token-of-the-tests-0123456789";
    await using stage = await serving({
      tokens: ["admin-token-of-the-tests-0123456789", { token, scopes: ["read"] }],
    });
    const note = defineJob({ name: "note", payload: json<number>() });
    const jobs = await connect(stage.behind);
    await jobs.every("1h", note, 7);
    await using looking = await connect(new RemoteStorage({ url: stage.server.url, token }));
    expect(
      (await looking.schedules.list()).map(({ key, payload, next }) => [key, payload, next.length]),
    ).toEqual([["note", 7, 5]]);
    expect((await looking.schedules.get("note"))?.name).toBe("note");
    await expect(looking.schedules.pause("note")).rejects.toThrow(AccessDeniedError);
  });
});
