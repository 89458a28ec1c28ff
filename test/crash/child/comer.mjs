// Comes and goes: opens and closes the store again and again, with a look between.

import { connect, endChannel, jobwright, log, options, tell } from "./store.mjs";

const peek = jobwright.defineJob({ name: "work" });
for (let n = 1; n <= options.opens; n += 1) {
  const { jobs } = await connect({ watched: false });
  tell({ name: "open" });
  // Some only open, some look, some write.
  if (n % 3 === 1) await jobs.count({ state: "available" });
  if (n % 10 === 2) {
    const batch = `${options.name}#${n}`;
    log("ask", { batch, numbers: [0] });
    const { id } = await jobs.enqueue(peek, { batch, number: 0 });
    log("ack", { batch, ids: [id] });
  }
  await jobs.close();
}
endChannel();
