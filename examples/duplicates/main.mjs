// @ts-check
// Finds duplicate files: one job a file, queued in LMDB or PostgreSQL, worked by three processes, of which one
// is killed.
//   npm run demo -- [folder] [--workers n] [--fresh] [--store folder] [--url postgres://…]
import { join } from "node:path";
import { JobwrightError } from "jobwright";
import { readArguments } from "./arguments.mjs";
import { Crew } from "./crew.mjs";
import { openPlace, writeRun } from "./place.mjs";
import { progress } from "./progress.mjs";
import { queueFiles } from "./queue-files.mjs";
import { Refusal } from "./refusal.mjs";
import { findings, sayFindings } from "./report.mjs";
import { count, keep, printable, say } from "./screen.mjs";
import { work } from "./work.mjs";

/** Fired by Ctrl-C. */
const interrupt = new AbortController();
const interrupted = interrupt.signal;

/** @param {string[]} args */
async function main(args) {
  const { folder, workers, ...options } = await readArguments(args);
  const place = await openPlace(folder, options);
  const { jobs, run, home, stores } = place;
  say(`Which files in ${printable(folder.toString())} are equal?`);
  say(
    `Each file is a job: read it, note its size and its SHA-256. Jobs and results are kept in ${stores.kind}:`,
  );
  say(printable(stores.shown(run.store)));
  say();

  const crew = new Crew((name, how) => {
    if (!interrupted.aborted) say(`   ${name} ended unexpectedly: ${how}.`);
  });
  try {
    const beganAt = performance.now();
    const before = await progress(jobs);
    const found = run.found ?? (await queueFiles(place, folder, interrupted));
    if (run.found !== undefined && before.finished > 0) {
      say(
        `1. Going on with the interrupted run: ${before.finished} of ${count(found, "job")} are done, ${before.left} are left.`,
      );
    }
    const unstarted = interrupted.aborted ? new Set() : await work(place, crew, workers, interrupted);
    if (interrupted.aborted) return sayGoodbye();
    const seconds = (performance.now() - beganAt) / 1_000;

    const result = await findings(jobs);
    const ended = result.done + result.deadCount;
    const lost = found - ended;
    say();
    sayFindings(result, folder.toString(), join(home, "planted-dangling-link"));
    say();
    say(
      `Of the attempts, ${ended} were the last of their job, ${result.failed} failed and had a retry, ` +
        `${result.attempts - ended - result.failed} were lost with a process.`,
    );
    say(
      `files found ${found}, jobs done ${result.done}, attempts ${result.attempts}, ` +
        `rescued ${new Set([...result.lostWith, ...unstarted]).size}, dead ${result.deadCount}, lost ${lost}, ` +
        `${seconds.toFixed(1)} s, ${Math.round((ended - before.finished) / seconds)} jobs/s`,
    );
    await writeRun(home, { ...run, found, finished: true });
    process.exitCode = lost === 0 ? 0 : 1;
  } finally {
    await crew.end();
    await jobs.close();
  }
}

function sayGoodbye() {
  say();
  say(
    "Interrupted. What is done is kept, what ran goes back to the queue. Run the same command again to go on.",
  );
  process.exitCode = 130;
}

// Nobody reads what we say any more, as with `| head`.
process.stdout.on("error", () => interrupt.abort());

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => {
    // A second signal goes at once: the workers end by themselves when this process is gone.
    if (interrupted.aborted) process.exit(130);
    interrupt.abort();
  });
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  keep();
  const isKnown = error instanceof Refusal || error instanceof JobwrightError;
  const text = isKnown ? error.message : `The demo failed: ${String(error)}`;
  process.stderr.write(`${printable(text)}\n`);
  process.exitCode = error instanceof Refusal ? error.exitCode : 1;
}
