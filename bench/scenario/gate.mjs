import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { judge, SLOWER_THAN } from "../gate/judge.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const child = fileURLToPath(new URL("../gate/child.mjs", import.meta.url));
const ROUNDS = 5;
const JOBS = 20_000;

/**
 * A gate against slower releases: this checkout and an earlier one, built from the same tools, take turns. It ends
 * with an error when one of the rates has become lower than {@link SLOWER_THAN} of what it was.
 */
export async function gate({ against = "HEAD", quick = false, size }) {
  const jobs = size ?? (quick ? JOBS / 4 : JOBS);
  const folder = mkdtempSync(join(tmpdir(), "jobwright-before-"));
  try {
    const before = build(against, folder);
    const rates = {};
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const [which, dist] of [
        ["before", before],
        ["now", join(root, "dist")],
      ]) {
        const found = JSON.parse(
          execFileSync(process.execPath, [child, dist, String(jobs)], { encoding: "utf8" }),
        );
        for (const [measure, rate] of Object.entries(found)) {
          rates[measure] ??= { before: [], now: [] };
          rates[measure][which].push(rate);
        }
      }
    }
    const rows = judge(rates);
    console.log(
      `Against ${against}, ${ROUNDS} rounds in turn, durability as always (lmdb: every commit synced):`,
    );
    for (const { measure, before: was, now, ratio, isSlower } of rows) {
      const rounded = [was, now].map((rate) => Math.round(rate).toLocaleString("en").padStart(9));
      console.log(
        `  ${measure.padEnd(28)} ${rounded.join(" → ")} jobs/s  ${ratio.toFixed(2)} ×${isSlower ? "  SLOWER" : ""}`,
      );
    }
    if (rows.some(({ isSlower }) => isSlower)) {
      console.error(
        `Slower than ${SLOWER_THAN} of what it was. Run it again on a quiet machine before you believe it.`,
      );
      process.exitCode = 1;
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The earlier sources, built aside. Answers the folder of the build. */
function build(ref, folder) {
  const archive = execFileSync("git", ["-C", root, "archive", ref], { maxBuffer: 1 << 30 });
  const sources = join(folder, "sources");
  mkdirSync(sources);
  execFileSync("tar", ["x", "-C", sources], { input: archive });
  symlinkSync(join(root, "node_modules"), join(sources, "node_modules"));
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  execFileSync(process.execPath, [tsc, "-p", "tsconfig.build.json"], { cwd: sources, stdio: "inherit" });
  return join(sources, "dist");
}
