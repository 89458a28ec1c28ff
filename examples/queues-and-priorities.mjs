// @ts-check
// Two queues with their own slots, and priorities within one: a lower number runs first.
import { connect, defineJob, json } from "jobwright";
import { runUntilIdle } from "jobwright/testing";

const send = defineJob({
  name: "send",
  payload: /** @type {import("jobwright").StandardSchema<{ to: string, urgent?: boolean }>} */ (json()),
  queue: "mail",
  priority: ({ urgent }) => (urgent ? -10 : 0),
  run: ({ to }) => console.log(`mail to ${to}`),
});
const report = defineJob({ name: "report", queue: "slow", run: () => console.log("report made") });

const jobs = await connect("memory:");
const worker = jobs.worker([send, report], { queues: { mail: 1, slow: 1 } });

await jobs.enqueue(send, { to: "ann" });
await jobs.enqueue(send, { to: "bob" }, { priority: 5 });
await jobs.enqueue(send, { to: "eve", urgent: true });
await jobs.enqueue(report, {});

await jobs.pause({ queue: "slow" });
console.log("ran", await runUntilIdle(worker));
for (const { queue, paused, counts } of await jobs.queues()) {
  console.log(`${queue}: ${counts.available} wait, ${counts.completed} done${paused ? ", paused" : ""}`);
}
await jobs.resume({ queue: "slow" });
console.log("ran", await runUntilIdle(worker));
await jobs.close();

// prints:
// mail to eve
// mail to ann
// mail to bob
// ran 3
// mail: 0 wait, 3 done
// slow: 1 wait, 0 done, paused
// report made
// ran 1
