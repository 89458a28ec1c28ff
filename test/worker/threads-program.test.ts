// Goal: threads as a program has them that uses the built package: handlers that import it, in JavaScript and in
// TypeScript, and a process that ends by itself when its worker has stopped, whatever its threads were doing.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { built, root } from "../support/built.ts";
import { command } from "../support/command.ts";

const folder = mkdtempSync(join(tmpdir(), "jobwright-"));
beforeAll(() => built());
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const HANDLER = `
import { RetryAfter, snooze, UnrecoverableError } from "jobwright";
class Mine extends UnrecoverableError {}
export default async ({ act }, ctx) => {
  if (act === "snooze") return snooze("1m");
  if (act === "unrecoverable") throw new Mine("no");
  if (act === "retry") throw new RetryAfter("1m");
  if (act === "loop") { ctx.log.warn("loops"); for (;;); }
  return "done";
};
`;

const TYPED = HANDLER.replace("{ act }", "{ act }: { readonly act: string }")
  .replace("ctx)", "ctx: ThreadContext)")
  .replace("import { ", "import { type ThreadContext, ")
  .replace('"done"', "Kind[Kind.Done]")
  .replace("class Mine", "enum Kind { Open, Done }\nclass Mine");

const PROGRAM = `
import { connect, defineJob, json } from "jobwright";
let loops;
const looping = new Promise((resolve) => (loops = resolve));
const quiet = () => undefined;
const logger = { debug: quiet, info: quiet, warn: (line) => line === "loops" && loops(), error: quiet };
const jobs = await connect("memory:", { logger });
const plain = defineJob({ name: "plain", payload: json(), thread: new URL("./plain.js", import.meta.url) });
const typed = defineJob({ name: "typed", payload: json(), thread: new URL("./typed.js", import.meta.url) });
const worker = jobs.worker([plain, typed], { threads: 1 });
await worker.start();
const ended = [];
const told = new Promise((resolve) => {
  let left = 8;
  for (const event of ["completed", "snoozed", "dead", "failed"])
    worker.on(event, ({ name }) => {
      ended.push(name + " " + event);
      if ((left -= 1) === 0) resolve();
    });
});
for (const job of [plain, typed]) await jobs.enqueueMany(job, ["snooze", "unrecoverable", "retry", "value"].map((act) => ({ act })));
await told;
console.log(ended.sort().join());
await jobs.enqueue(plain, { act: "loop" });
await looping;
await worker.stop({ timeout: 0 });
console.log("stopped");
`;

it("runs handlers that import the package, and lets the process end", async () => {
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  writeFileSync(join(folder, "plain.js"), HANDLER);
  writeFileSync(join(folder, "typed.ts"), TYPED);
  writeFileSync(join(folder, "program.js"), PROGRAM);
  mkdirSync(join(folder, "node_modules"));
  symlinkSync(root, join(folder, "node_modules/jobwright"), "junction");
  const events = ["completed", "dead", "failed", "snoozed"];
  const ended = ["plain", "typed"].flatMap((name) => events.map((event) => `${name} ${event}`));
  expect(await command(process.execPath, ["program.js"], folder)).toBe(`${ended.join()}\nstopped\n`);
});
