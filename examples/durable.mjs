// @ts-check
// Enqueue in one process, work in another: all they share is a folder.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { connect, defineJob, json } from "jobwright";

const add = defineJob({
  name: "add",
  payload: /** @type {import("jobwright").StandardSchema<{ a: number, b: number }>} */ (json()),
  run: ({ a, b }) => `${a} + ${b} = ${a + b}, says the ${process.argv[2]}`,
});

const [, , role, store = await mkdtemp(join(tmpdir(), "jobwright-durable-"))] = process.argv;
const jobs = await connect(`lmdb:${store}`);

if (role === "worker") {
  await jobs.worker([add]).start();
  process.once("disconnect", () => jobs.close());
} else {
  const handle = await jobs.enqueue(add, { a: 2, b: 3 });
  console.log("stored:", (await handle.get())?.state);
  const args = [fileURLToPath(import.meta.url), "worker", store];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  console.log(await handle.result({ timeout: "30s" }));
  child.disconnect();
  await once(child, "exit");
  await jobs.close();
  await rm(store, { recursive: true });
}

// prints:
// stored: available
// 2 + 3 = 5, says the worker
