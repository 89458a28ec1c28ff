import { describe, expect, it } from "vitest";
import { ProtocolError } from "../../src/errors.ts";
import { failure, failureOf } from "../../src/wire/failure.ts";
import { PROTOCOL, SERVED } from "../../src/wire/message.ts";
import { fixedConnection, WELCOME } from "./support/fixed-connection.ts";
import { newJob } from "./support/job.ts";
import { RawClient } from "./support/raw-client.ts";
import { serving } from "./support/serving.ts";

// Goal: a server and a client of different versions work together, or say clearly that they do not.
// Method: raw clients that greet with each version; for older servers, the answers that those give.

const KEY = { scope: "work", key: "k", while: "live", onConflict: "error" } as const;

describe("a server", () => {
  it.each(SERVED)("speaks version %i with a client of that version, in its words", async (protocol) => {
    await using stage = await serving();
    await using raw = await RawClient.connect(stage.server.url);
    raw.send(["hello", { protocol, client: "old" }]);
    expect(await raw.next()).toMatchObject(["welcome", { protocol }]);
    // The first job has ended and the second one has its key: to run the first again is a conflict.
    const ids: number[] = [];
    for (const payload of ["1", "2"]) {
      const [group] = await stage.behind.enqueue([[newJob({ payload, unique: KEY })]]);
      const id = group?.ok === true ? (group.jobs[0]?.id ?? 0) : 0;
      if (ids.push(id) === 1) await stage.behind.change([id], { kind: "cancel", reason: "enough" });
    }
    expect(await stage.behind.change(ids, { kind: "retry" })).toEqual(["conflict", "unchanged"]);
    raw.send(["call", 1, "change", [ids, { kind: "retry" }]]);
    const word = protocol === 1 ? "unchanged" : "conflict";
    expect(await raw.next()).toEqual(["answer", 1, [word, "unchanged"]]);
  });

  it.each([0, PROTOCOL + 1])("refuses version %i and says which ones it speaks", async (protocol) => {
    await using stage = await serving();
    await using raw = await RawClient.connect(stage.server.url);
    raw.send(["hello", { protocol, client: "other" }]);
    const message = `The job server speaks the versions 1 and 2 of the protocol, the client version ${protocol}. Update the older of the two.`;
    expect(await raw.next()).toMatchObject(["refused", { name: "ProtocolError", message }]);
    await raw.closed;
  });

  it("keeps what an older client does not know of a job that it runs", async () => {
    await using stage = await serving();
    await using raw = await RawClient.connect(stage.server.url);
    raw.send(["hello", { protocol: 1, client: "old" }]);
    await raw.next();
    const limit = { scope: "", key: "disk", concurrency: 1 };
    await stage.behind.enqueue([[newJob({ limit, trace: "t" }), newJob({ payload: "2", limit })]]);
    const call = async (id: number, method: string, args: readonly unknown[]): Promise<unknown> => {
      raw.send(["call", id, method, args]);
      const [kind, , answer] = await raw.next();
      expect(kind, JSON.stringify(answer)).toBe("answer");
      return answer;
    };
    const process = { id: "p", host: "h", pid: 1, lostAfterMs: 60_000, queues: [], holds: [], starts: [] };
    await call(1, "beat", [{ ...process, first: true }]);
    expect(await call(2, "promote", [10])).toMatchObject({ promoted: 2 });
    const queues = [{ queue: "default", names: ["work"], room: 2, readAhead: 0 }];
    const claimed = await call(3, "claim", [{ processId: "p", token: "p:1", queues, starts: [] }]);
    expect(claimed).toMatchObject({ jobs: [{ payload: "1" }] });
    // Both of a limit of one would have been given to whoever knows of none, if the server did not.
    const [{ id } = { id: 0 }, ...others] = (claimed as { jobs: { id: number }[] }).jobs;
    expect(others).toEqual([]);
    const lease = { id, generation: 0, token: "p:1" };
    const outcome = { state: "scheduled", later: { delayMs: 0 }, attempt: "kept" };
    expect(await call(4, "settle", [[{ lease, outcome, startedAt: 1 }]])).toEqual(["settled"]);
    expect(await stage.behind.get([id])).toMatchObject([{ limit, trace: "t", snoozes: 1 }]);
  });
});

describe("a client", () => {
  const old =
    "The job server speaks version 1 of the protocol, the client version 2. Update the older of the two.";

  it.each([
    [
      "is refused by a server of version 1",
      [["refused", failure.out(failureOf(new ProtocolError(old)))]],
      old,
    ],
    [
      "does not speak to a server that welcomes it with another version",
      [[WELCOME[0], { ...(WELCOME[1] as object), protocol: 1 }]],
      "The job server at fuzz speaks version 1 of the protocol, this jobwright version 2. Update the older of the two.",
    ],
  ])("%s, and calls fail with the reason", async (_what, answers, message) => {
    const { connection, channels } = fixedConnection(answers);
    await expect(connection.open(5_000)).rejects.toThrow(message);
    await expect(connection.call("lanes", [], 5_000)).rejects.toBeInstanceOf(ProtocolError);
    expect(channels).toMatchObject([{ sent: 1 }]);
    connection.close();
  });
});
