import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { randomFrom, seed, size } from "../support/size.ts";
import { check, type EntryOf } from "./history.ts";
import { places } from "./places.ts";
import { buildChildren, type Child, figure, pause, Scene, TIMEOUT_MS } from "./scene.ts";

// Goal: a process that stands still for longer than the silence limit, and wakes up after others have done its
// jobs, changes nothing; its handlers see the abort, and it works again under a new process id.
// Method: SIGSTOP and SIGCONT. A stopped process exists, so its jobs can only be rescued because of its silence.

const LOST_AFTER_MS = 1_000;
/** Handlers that wait for their signal, besides the one that blocks the event loop. */
const WAITING = 4;

beforeAll(buildChildren);

/** Whether the kernel has stopped it; true where that cannot be seen. */
function isStopped({ pid }: Child): boolean {
  if (process.platform !== "linux") return true;
  return /^State:\s*T/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
}

describe.each(places)("a frozen worker, on $label", { timeout: TIMEOUT_MS }, (place) => {
  it("changes nothing when it wakes up after its jobs were rescued, and works again", async () => {
    const freezes = size(1, 10);
    await using scene = await Scene.on(place);
    const options = { lostAfterMs: LOST_AFTER_MS, pollMs: 100 };
    const frozen = scene.launch("worker", { ...options, queues: ["default", "own"] });
    const other = scene.launch("worker", { ...options, paused: true });
    await Promise.all([scene.ready(frozen), scene.ready(other)]);
    await using jobs = await scene.connect();

    for (let n = 1; n <= freezes; n += 1) {
      // Started, and known to have started; then one whose handler does not let go of the event loop.
      const waiting = await scene.enqueue(
        jobs,
        Array.from({ length: WAITING }, () => ({ payload: { act: "await-abort" } })),
      );
      await scene.until("the storage knows of the starts", () => {
        const told = new Set(scene.all("told").flatMap(({ starts }) => starts.map(([id]) => String(id))));
        return waiting.every((id) => told.has(id));
      });
      const file = join(scene.home, `go-on-${n}`);
      const [blocking = ""] = await scene.enqueue(jobs, [
        { payload: { act: "block-until", where: frozen.name, file } },
      ]);
      const startOf = (id: string): EntryOf<"start"> | undefined =>
        scene.all("start").find((start) => start.id === id);
      await scene.until("the last job blocks", () => startOf(blocking) !== undefined);
      const before = startOf(blocking)?.process;

      frozen.process.kill("SIGSTOP");
      await scene.until("it stands still", () => isStopped(frozen));
      writeFileSync(file, "");
      other.send("resume");
      const all = [...waiting, blocking];
      await scene.until("others have done its jobs, and are at the last", async () => {
        const found = await Promise.all(waiting.map((id) => jobs.get(id)));
        const isTaken = scene.all("start").some(({ id, by }) => id === blocking && by === other.name);
        return isTaken && found.every((job) => job?.state === "completed");
      });
      // It was there all the time, and stood still.
      expect(frozen.isOver).toBe(false);
      expect(isStopped(frozen)).toBe(true);
      // It wakes up while another one runs its job: its settle meets a lease, but not its own.
      frozen.process.kill("SIGCONT");
      await scene.until("its late settle was answered", () =>
        scene
          .all("settle")
          .some(({ by, runs }) => by === frozen.name && runs.some(([id]) => String(id) === blocking)),
      );
      expect(await jobs.get(blocking)).toMatchObject({ state: "running" });
      writeFileSync(`${file}.elsewhere`, "");
      await scene.until(
        "the other one is done, too",
        async () => (await jobs.get(blocking))?.state === "completed",
      );
      other.send("pause");
      const done = await Promise.all(all.map((id) => jobs.get(id)));
      await scene.until("its handlers saw the abort", () => {
        const aborted = scene
          .all("abort")
          .filter(({ process, id }) => process === before && waiting.includes(id));
        return aborted.length === WAITING;
      });
      // Only it serves this queue.
      const [own = ""] = await scene.enqueue(jobs, [{ payload: {}, options: { queue: "own" } }]);
      await scene.until("it works again", async () => (await jobs.get(own))?.state === "completed");
      expect(startOf(own)?.by).toBe(frozen.name);
      expect(startOf(own)?.process).not.toBe(before);

      expect(await Promise.all(all.map((id) => jobs.get(id)))).toEqual(done);
      for (const job of done) expect(job?.result).not.toMatchObject({ process: before });
      // Those known to have started have spent an attempt; the last one, whose start nobody knew, has not.
      expect(done.map((job) => job?.attempt)).toEqual([...waiting.map(() => 2), 1]);
    }
    const aborts = scene.all("abort");
    expect(new Set(aborts.map(({ reason }) => reason))).toEqual(new Set(["LeaseLostError"]));
    expect(aborts).toHaveLength(freezes * WAITING);
    // A busy machine may make it silent once more.
    expect(scene.count("fenced", frozen)).toBeGreaterThanOrEqual(freezes);
    expect(frozen.tells("stale")).toHaveLength(freezes);
    await jobs.close();
    await Promise.all([scene.end(frozen), scene.end(other)]);
    expect(check(scene.seen(), await scene.stored(), { lostAfterMs: LOST_AFTER_MS })).toEqual([]);
    figure(
      place,
      `freeze: ${freezes} freezes beyond the silence limit of ${LOST_AFTER_MS} ms: ${frozen.tells("stale").length} ` +
        `late settles refused, ${aborts.length} handlers aborted, registered anew each time`,
    );
  });

  it("does no harm when it is stopped at any instant of busy work", async () => {
    const freezes = size(2, 30);
    const random = randomFrom(seed(`freezes at random on ${place.label}`));
    await using scene = await Scene.on(place);
    const options = { lostAfterMs: LOST_AFTER_MS, pollMs: 100 };
    const workers = Array.from({ length: 3 }, () => scene.launch("worker", options));
    await Promise.all(workers.map((worker) => scene.ready(worker)));
    const spawner = scene.launch("spawner", {
      seed: Math.floor(random() * 2 ** 31),
      allowed: 100,
      ...options,
    });
    const starts = (): number => scene.count("start");
    const feed = (): void => spawner.send("allow", starts() + 100);
    for (let n = 1; n <= freezes; n += 1) {
      const goal = starts() + Math.ceil(random() * 60);
      await scene.until("more jobs start", () => {
        feed();
        return starts() >= goal;
      });
      await pause(random() * 20);
      const frozen = workers[Math.floor(random() * workers.length)] as Child;
      frozen.process.kill("SIGSTOP");
      // Longer than the limit; how much longer decides whether its jobs are rescued while it wakes up.
      const deadline = performance.now() + LOST_AFTER_MS * (1 + random());
      await scene.until("the silence limit is over", () => {
        feed();
        return performance.now() > deadline;
      });
      frozen.process.kill("SIGCONT");
      // It was on its way in, or was fenced: either way it is known again in the end.
      const beats = scene.count("beat", frozen);
      await scene.until("it is known again", () => {
        feed();
        return scene.count("beat", frozen) > beats;
      });
    }
    await scene.end(spawner);
    await scene.allEnded();
    await Promise.all(workers.map((worker) => scene.end(worker)));
    const stale = workers.reduce((sum, worker) => sum + worker.tells("stale").length, 0);
    const stored = await scene.stored();
    const lostRuns = stored.reduce((sum, { failures }) => sum + failures.length, 0);
    figure(
      place,
      `freeze at random: ${freezes} freezes of ${workers.length} busy workers, ${starts()} runs of ${stored.length} ` +
        `jobs, ${scene.count("fenced")} times fenced, ${lostRuns} attempts lost with a silent process, ${stale} late settles refused`,
    );
    expect(scene.count("fenced")).toBeGreaterThan(0);
    expect(check(scene.seen(), stored, { lostAfterMs: LOST_AFTER_MS })).toEqual([]);
  });
});
