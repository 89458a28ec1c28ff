// @ts-check
// One job at a time for each customer, however often somebody asks for it.
import { connect, defineJob, json, KeyHeldError } from "jobwright";

const invoice = defineJob({
  name: "invoice",
  payload: /** @type {import("jobwright").StandardSchema<{ customer: string, sum: number }>} */ (json()),
  unique: { key: ({ customer }) => customer },
  run: ({ customer, sum }) => `${customer} owes ${sum}`,
});

const jobs = await connect("memory:");
const first = await jobs.enqueue(invoice, { customer: "ada", sum: 10 });
const again = await jobs.enqueue(invoice, { customer: "ada", sum: 12 });
console.log(again.status, again.id === first.id);
const newer = await jobs.enqueue(
  invoice,
  { customer: "ada", sum: 15 },
  { unique: { onConflict: "replace" } },
);
console.log(newer.status, newer.id === first.id);

const call = jobs.enqueue(invoice, { customer: "ada", sum: 20 }, { unique: { onConflict: "error" } });
await call.catch((error) =>
  console.log(error instanceof KeyHeldError, error.key, error.holderId === first.id),
);

// In bulk the handles tell, in order, which ones were there already.
const customers = ["bob", "ada", "bob"];
const handles = await jobs.enqueueMany(
  invoice,
  customers.map((customer) => ({ customer, sum: 1 })),
);
console.log(handles.map(({ status }) => status).join(", "));

await jobs.worker([invoice]).start();
console.log(await first.result({ timeout: "10s" }));
await jobs.close();

// prints:
// existing true
// replaced true
// true ada true
// created, existing, existing
// ada owes 15
