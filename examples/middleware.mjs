// @ts-check
// What stands around every job: a tag on each enqueue, and a line around each run.
import { connect, defineJob, json } from "jobwright";

/** @type {import("jobwright").Middleware} */
const tags = {
  enqueue: (item, next) => next({ options: { ...item.options, tags: ["shop"] } }),
};
/** @type {import("jobwright").Middleware} */
const lines = {
  run: async (ctx, next) => {
    const result = await next();
    console.log(`${ctx.job.name}, tagged ${ctx.job.tags.join()}, answered ${JSON.stringify(result)}`);
    return result;
  },
};

const greet = defineJob({
  name: "greet",
  payload: /** @type {import("jobwright").StandardSchema<{ who: string }>} */ (json()),
  // A step before the handler; what it makes is disposed after the run.
  setup: ({ payload }) => ({
    text: `Hello, ${payload.who}`,
    [Symbol.dispose]: () => console.log("tidied up"),
  }),
  run: (_payload, ctx) => `${ctx.setup.text}!`,
});
/** @type {import("jobwright").Middleware} */
const loud = { run: async (_ctx, next) => String(await next()).toUpperCase() };
// The same handler under another name, with middleware of its own inside of the others.
const shout = defineJob(greet, { name: "shout", middleware: [loud] });

const jobs = await connect("memory:", { middleware: [tags, lines] });
await jobs.worker([greet, shout]).start();
for (const definition of [greet, shout]) {
  await (await jobs.enqueue(definition, { who: "Ada" })).result({ timeout: "10s" });
}
await jobs.close();

// prints:
// tidied up
// greet, tagged shop, answered "Hello, Ada!"
// tidied up
// shout, tagged shop, answered "HELLO, ADA!"
