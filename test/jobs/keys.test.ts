import { afterEach, describe, expect, it } from "vitest";
import { defineJob, item, json, KeyHeldError } from "../../src/index.ts";
import { runUntilIdle } from "../../src/testing/index.ts";
import { storages } from "../support/storages.ts";
import { gate, until, type World, world } from "../support/world.ts";

// Goal: what an application says of keys reaches the storage, and what became of it comes back. What the storage
// makes of keys is the storage suite's business.

interface Order {
  readonly order: number;
  readonly note?: string;
}
const ship = defineJob({
  name: "ship",
  payload: json<Order>(),
  unique: { key: ({ order }) => order },
  run: ({ order, note }) => `${order}${note ?? ""}`,
});
const plain = defineJob({ name: "plain", payload: json<Order>(), run: () => 1 });

describe.each(storages)("keys on $label", (kind) => {
  let here: World;
  afterEach(() => here?.[Symbol.asyncDispose]());

  it("a second job of a unique key is the first one, until that has ended", async () => {
    here = await world(kind);
    const { jobs } = here;
    const first = await jobs.enqueue(ship, { order: 1 });
    const again = await jobs.enqueue(ship, { order: 1, note: "!" });
    const other = await jobs.enqueue(ship, { order: 2 });
    expect([first, again, other].map(({ status }) => status)).toEqual(["created", "existing", "created"]);
    expect([first, again, other].map(({ created }) => created)).toEqual([true, false, true]);
    expect(again.id).toBe(first.id);
    const worker = jobs.worker([ship]);
    await runUntilIdle(worker);
    expect(await again.result({ timeout: "5s" })).toBe("1");
    expect((await jobs.enqueue(ship, { order: 1 })).status).toBe("created");
    expect(jobs.handle(first.id).status).toBe("existing");
  });

  it("the holder can take over what the second one says", async () => {
    here = await world(kind);
    const { jobs } = here;
    const first = await jobs.enqueue(ship, { order: 1 });
    const options = { unique: { onConflict: "replace" }, in: "1h", tags: ["t"] } as const;
    const second = await jobs.enqueue(ship, { order: 1, note: "!" }, options);
    expect(second).toMatchObject({ id: first.id, status: "replaced", created: false });
    expect(await second.get()).toMatchObject({ state: "scheduled", payload: { note: "!" }, tags: ["t"] });
  });

  it("a refusal names the key and who holds it, and nothing of its call is stored", async () => {
    here = await world(kind);
    const { jobs } = here;
    const first = await jobs.enqueue(ship, { order: 1 });
    const options = { unique: { onConflict: "error" } } as const;
    const one = await jobs.enqueue(ship, { order: 1 }, options).catch((error: unknown) => error);
    expect(one).toBeInstanceOf(KeyHeldError);
    expect(one).toMatchObject({ key: "1", holderId: first.id });
    const many = jobs.enqueueMany(ship, [{ order: 2 }, { order: 1 }], options);
    await expect(many).rejects.toMatchObject({ name: "KeyHeldError", holderId: first.id });
    const twice = jobs.enqueueMany(ship, [{ order: 3 }, { order: 3 }], options);
    await expect(twice).rejects.toMatchObject({ key: "3", holderId: undefined });
    expect(await jobs.count()).toEqual({ n: 1, exact: true });
  });

  it("in bulk, the handles tell in order which ones were there already", async () => {
    here = await world(kind);
    const { jobs } = here;
    await jobs.enqueue(ship, { order: 3 });
    const handles = await jobs.enqueueMany(
      ship,
      [3, 1, 4, 1, 5].map((order) => ({ order })),
    );
    expect(handles.map(({ created }) => created)).toEqual([false, true, true, false, true]);
    expect(handles[3]?.id).toBe(handles[1]?.id);
    const mixed = await jobs.enqueueMany([
      item(plain, { order: 1 }, { unique: true }),
      item(plain, { note: "x", order: 1 }, { unique: true }),
      item(plain, { order: 1 }, { unique: true }),
      item(plain, { order: 1 }),
    ]);
    expect(mixed.map(({ status }) => status)).toEqual(["created", "created", "existing", "created"]);
  });

  it("definitions share a key only where both say so, and once for ever is once for ever", async () => {
    here = await world(kind);
    const { jobs } = here;
    const other = defineJob({ name: "other", unique: "a", run: () => 1 });
    const status = async (definition: typeof plain | typeof other, unique: object): Promise<string> =>
      (await jobs.enqueue(definition as typeof plain, { order: 1 }, { unique })).status;
    expect(await status(plain, { key: "a" })).toBe("created");
    expect(await status(other, {})).toBe("created");
    expect(await status(plain, { key: "b", scope: "all" })).toBe("created");
    expect(await status(other, { key: "b", scope: "all" })).toBe("existing");
    expect(await status(plain, { key: "once", for: Number.POSITIVE_INFINITY })).toBe("created");
    await runUntilIdle(jobs.worker([plain, other]));
    await here.clock.advance("30d");
    expect(await status(plain, { key: "once", for: Number.POSITIVE_INFINITY })).toBe("existing");
  });

  it("a job without keys does not wait with one whose key somebody's transaction holds", async () => {
    here = await world(kind);
    const { jobs, faults } = here;
    const slow = gate();
    faults.plan("enqueue", { kind: "delay", until: slow.promise }, 1, ([groups]) =>
      JSON.stringify(groups).includes('"unique"'),
    );
    let isStored = false;
    const keyed = jobs.enqueue(ship, { order: 1 }).finally(() => (isStored = true));
    await jobs.enqueue(plain, { order: 2 });
    await jobs.enqueue(plain, { order: 3 });
    expect(isStored).toBe(false);
    slow.open();
    expect((await keyed).status).toBe("created");
  });

  it("a limit holds whatever the workers' slots are", async () => {
    here = await world(kind);
    const { jobs } = here;
    const held = gate();
    const running = new Map<string, number>();
    let most = 0;
    const work = defineJob({
      name: "work",
      payload: json<{ tenant: string }>(),
      limit: { key: ({ tenant }) => tenant, concurrency: 2 },
      run: async ({ tenant }) => {
        running.set(tenant, (running.get(tenant) ?? 0) + 1);
        most = Math.max(most, running.get(tenant) ?? 0);
        await held.promise;
        running.set(tenant, (running.get(tenant) ?? 0) - 1);
      },
    });
    const worker = jobs.worker([work]);
    await jobs.enqueueMany(
      work,
      ["a", "a", "a", "a", "b"].map((tenant) => ({ tenant })),
    );
    const done = runUntilIdle(worker);
    await until(() => worker.running === 3);
    expect(Object.fromEntries(running)).toEqual({ a: 2, b: 1 });
    expect((await jobs.count({ state: "blocked" })).n).toBe(2);
    held.open();
    await done;
    expect(most).toBe(2);
    expect((await jobs.count({ state: "completed" })).n).toBe(5);
  });
});
