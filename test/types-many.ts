import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./support/built.ts";

/** Definitions in one file of the application. */
const PER_FILE = 10;

/**
 * Write an application of so many definitions, as a user of the package would have it: each with a payload, a
 * result, a state and key functions of its own, enqueued and waited for by name, and one worker for all. Wherever a
 * type reaches the application, it says that it is not `any`.
 */
export function writeApplication(folder: string, definitions: number): void {
  mkdirSync(join(folder, "node_modules"), { recursive: true });
  symlinkSync(root, join(folder, "node_modules/jobwright"));
  for (const name of ["zod", "@types"]) {
    symlinkSync(join(root, "node_modules", name), join(folder, "node_modules", name));
  }
  write(folder, "package.json", JSON.stringify({ name: "application", type: "module", private: true }));
  write(folder, "tsconfig.json", JSON.stringify({ compilerOptions: COMPILER_OPTIONS, include: ["*.ts"] }));
  write(folder, "support.ts", SUPPORT);
  const numbers = Array.from({ length: definitions }, (_, i) => i);
  const files = Math.ceil(definitions / PER_FILE);
  for (let file = 0; file < files; file += 1) {
    const own = numbers.slice(file * PER_FILE, (file + 1) * PER_FILE);
    write(folder, `jobs-${file}.ts`, [JOBS_HEAD, ...own.map(definitionOf)].join("\n"));
    write(folder, `use-${file}.ts`, useOf(file, own));
  }
  write(folder, "main.ts", mainOf(numbers, files));
}

const COMPILER_OPTIONS = {
  target: "ES2023",
  lib: ["ES2023", "ESNext.Disposable"],
  module: "nodenext",
  types: ["node"],
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  skipLibCheck: true,
  noEmit: true,
  allowImportingTsExtensions: true,
};

const SUPPORT = `
/** Refuses what is of type any. */
export function known<T>(value: 0 extends 1 & T ? never : T): void {
  void value;
}
export interface Mailer { send(to: string): Promise<number> }
export interface Store { save(key: string): Promise<boolean> }
`;

const JOBS_HEAD = `
import { cancel, defineJob, type JobContext, json, snooze } from "jobwright";
import { z } from "zod";
import { known, type Mailer, type Store } from "./support.ts";
`;

/** Every second one with a schema, every third one with directives; no two payloads or results are the same. */
function definitionOf(n: number): string {
  const payload =
    n % 2 === 0
      ? `z.object({ tenant: z.string(), at${n}: z.iso.datetime().transform((text) => new Date(text)), rows: z.array(z.object({ id${n}: z.number(), kind: z.enum(["a", "b", "c${n}"]) })), note: z.string().optional() })`
      : `json<{ tenant: string; count${n}: number; nested: { deep: readonly { id${n}: string }[] } }>()`;
  const state = n % 3 === 0 ? "{ readonly mailer: Mailer }" : "{ readonly store: Store }";
  const used = n % 3 === 0 ? 'await ctx.state.mailer.send("a")' : 'await ctx.state.store.save("a")';
  const result =
    n % 2 === 0
      ? `{ sum${n}: payload.rows.length, at: payload.at${n}.toISOString(), used }`
      : `{ total${n}: payload.count${n} + 1, ids: payload.nested.deep.map(({ id${n} }) => id${n}), used }`;
  return `
export const job${n} = defineJob({
  name: "job-${n}",
  payload: ${payload},
  queue: ({ tenant }) => \`tenant-\${tenant}\`,
  unique: { key: (payload) => (known(payload), payload.tenant), while: "live", onConflict: "replace" },
  limit: { key: ({ tenant }) => tenant, concurrency: 2 },
  tags: ({ tenant }) => [tenant],
  retention: { completed: "1d" },
  async run(payload, ctx: JobContext<${state}>) {
    known(payload);
    known(ctx.state);
    const used = ${used};
    known(used);
    ${n % 3 === 1 ? 'if (payload.tenant === "") return snooze("5m");' : n % 3 === 2 ? 'if (payload.tenant === "") return cancel("none");' : ""}
    return ${result};
  },
});`;
}

function useOf(file: number, own: readonly number[]): string {
  const used = own.map((n) => {
    const payload =
      n % 2 === 0
        ? `{ tenant: "t", at${n}: "2030-01-01T00:00:00Z", rows: [{ id${n}: 1, kind: "c${n}" }] }`
        : `{ tenant: "t", count${n}: 1, nested: { deep: [{ id${n}: "a" }] } }`;
    const [field, type] = n % 2 === 0 ? [`sum${n}`, "number"] : ["ids", "string[]"];
    return `
  {
    const handle = await jobs.enqueue(job${n}, ${payload}, { in: "1m", priority: 3 });
    // @ts-expect-error a payload of another definition
    await jobs.enqueue(job${n}, { tenant: "t", at${n + 1}: 1 });
    const result = await handle.result({ timeout: "1m" });
    known(result);
    const { ${field}: field }: { ${field}: ${type} } = result;
    // @ts-expect-error results have no such field
    void result.field${n};
    const kept = (await handle.get())?.result;
    known(kept);
    void field;
  }`;
  });
  return `
import type { Jobs } from "jobwright";
import { ${own.map((n) => `job${n}`).join(", ")} } from "./jobs-${file}.ts";
import { known } from "./support.ts";

export async function use(jobs: Jobs): Promise<void> {${used.join("")}
}`;
}

function mainOf(numbers: readonly number[], files: number): string {
  const all = Array.from({ length: files }, (_, i) => i);
  return `
import { connect } from "jobwright";
import { known, type Mailer, type Store } from "./support.ts";
${all.map((file) => `import * as jobs${file} from "./jobs-${file}.ts";\nimport { use as use${file} } from "./use-${file}.ts";`).join("\n")}

const jobs = await connect("memory:");
const definitions = [${numbers.map((n) => `jobs${Math.floor(n / PER_FILE)}.job${n}`).join(", ")}] as const;
declare const mailer: Mailer;
declare const store: Store;
const worker = jobs.worker(definitions, {
  state: (own) => {
    known(own);
    return { mailer, store };
  },
});
// @ts-expect-error half of them need the store, too
jobs.worker(definitions, { state: () => ({ mailer }) });
// @ts-expect-error they all need a state
jobs.worker(definitions);
known(worker);
${all.map((file) => `await use${file}(jobs);`).join("\n")}
await worker.start();
`;
}

function write(folder: string, name: string, text: string): void {
  writeFileSync(join(folder, name), text);
}
