/** One part of `src` and what it may import. An entry is a part, or one file for a narrow exception. */
export interface Part {
  readonly name: string;
  /** Its files: folders end in "/". A file belongs to the part with the longest match. */
  readonly files: readonly string[];
  readonly imports: readonly string[];
  /** Further parts of which it may name types, which leave nothing behind at run time. */
  readonly types?: readonly string[];
  /** Further parts it may load with `import()`, so that nobody pays for what he does not use. */
  readonly lazily?: readonly string[];
  readonly packages?: readonly string[];
}

/**
 * Who may import whom, in the order in which a job visits the parts. Everything points towards `job` and
 * the storage contract. No engine knows another, nothing but `connect` knows an engine, and nothing
 * knows `testing`.
 */
export const PARTS: readonly Part[] = [
  {
    name: "base",
    files: ["errors.ts", "show.ts", "known-options.ts", "clock.ts", "duration.ts", "logger.ts", "service.ts"],
    imports: [],
  },
  {
    name: "job",
    files: ["job/"],
    imports: ["base"],
    types: ["worker/context.ts", "surroundings"],
  },
  {
    // What can stand around enqueues and runs, and who listens: asked by those who enqueue and run.
    name: "surroundings",
    files: ["middleware.ts", "observer.ts", "diagnostics.ts", "run-scope.ts"],
    imports: ["base"],
    types: ["job", "storage", "worker/context.ts", "worker/events.ts", "item.ts"],
  },
  {
    // Imported by those who want it, since its import alone has a price.
    name: "current job",
    files: ["current-job.ts"],
    imports: ["surroundings"],
    types: ["worker/events.ts"],
  },
  {
    name: "telemetry",
    files: ["telemetry/"],
    imports: ["base", "job", "storage", "surroundings"],
    packages: ["@opentelemetry/api"],
  },
  { name: "storage", files: ["storage/"], imports: ["base", "job"] },
  { name: "memory", files: ["storage/memory/"], imports: ["base", "job", "storage"] },
  {
    name: "lmdb",
    files: ["storage/lmdb/"],
    imports: ["base", "job", "storage"],
    packages: ["lmdb", "fs-native-extensions"],
  },
  {
    name: "postgres",
    files: ["storage/postgres/"],
    imports: ["base", "job", "storage"],
    packages: ["pg"],
  },
  {
    name: "wire",
    files: ["wire/"],
    imports: ["base", "job", "storage"],
    packages: ["msgpackr", "ws", "zeromq"],
  },
  {
    name: "remote",
    files: ["storage/remote/"],
    imports: ["base", "job", "storage", "wire"],
    packages: ["ws"],
  },
  {
    name: "server",
    files: ["server/"],
    imports: ["base", "job", "storage", "wire"],
    packages: ["ws"],
  },
  {
    name: "schedule",
    files: ["schedule/"],
    imports: ["base", "job", "storage"],
    types: ["jobs"],
    packages: ["croner"],
  },
  { name: "upkeep", files: ["upkeep/"], imports: ["base", "job", "storage", "schedule"] },
  {
    // What runs in a job's thread. No storage is within its reach: a thread is ended at any moment.
    name: "thread",
    files: ["worker/thread/"],
    imports: ["base", "job", "surroundings"],
    types: ["worker/context.ts"],
    packages: ["jiti", "(not a literal)"],
  },
  {
    name: "worker",
    files: ["worker/"],
    imports: ["base", "job", "storage", "surroundings", "schedule", "upkeep", "thread"],
    types: ["jobs"],
    packages: ["piscina"],
  },
  {
    name: "jobs",
    files: [
      "jobs.ts",
      "changer.ts",
      "dead.ts",
      "enqueuer.ts",
      "filter.ts",
      "follow.ts",
      "handle.ts",
      "intake.ts",
      "item.ts",
      "look.ts",
      "queues.ts",
      "timeline.ts",
      "transaction-jobs.ts",
      "view.ts",
      "wait-all.ts",
      "waiter.ts",
    ],
    imports: ["base", "job", "storage", "surroundings", "schedule", "upkeep", "worker"],
  },
  {
    // Data alone. The types that it describes are named, so that the compiler holds the two together.
    name: "schemas",
    files: ["schemas/"],
    imports: [],
    types: ["base", "job", "storage", "schedule", "worker", "jobs"],
  },
  { name: "signals", files: ["signals.ts"], imports: ["base"] },
  {
    name: "connect",
    files: ["connect.ts"],
    imports: ["base", "job", "storage", "surroundings", "jobs"],
    lazily: ["memory", "lmdb", "postgres", "remote", "telemetry"],
  },
  {
    name: "supervisor",
    files: ["supervisor/"],
    imports: ["base", "job", "storage", "wire", "remote", "server", "worker", "jobs", "signals", "connect"],
    packages: ["jiti", "(not a literal)"],
  },
  {
    name: "cli",
    files: ["cli/"],
    imports: [
      ...["base", "job", "storage", "postgres", "surroundings", "schedule", "worker", "jobs"],
      ...["signals", "connect", "index"],
    ],
    lazily: ["server", "supervisor"],
    packages: ["commander", "jiti", "(not a literal)"],
  },
  {
    name: "index",
    files: ["index.ts"],
    imports: [
      ...["base", "job", "storage", "surroundings", "schedule", "upkeep", "worker", "jobs"],
      ...["signals", "connect", "supervisor"],
    ],
  },
  {
    name: "testing",
    files: ["testing/"],
    imports: [
      "base",
      "job",
      "storage",
      "memory",
      "lmdb",
      "upkeep",
      "worker",
      "jobs",
      "signals",
      "connect",
      "index",
    ],
  },
];

/** The part a file belongs to, by its path below `src`; `undefined` for a file nobody has thought of. */
export function partOf(path: string): Part | undefined {
  const length = (part: Part): number =>
    Math.max(-1, ...part.files.filter((file) => owns(file, path)).map((file) => file.length));
  const [best] = PARTS.toSorted((a, b) => length(b) - length(a));
  return best !== undefined && length(best) >= 0 ? best : undefined;
}

function owns(entry: string, path: string): boolean {
  return entry.endsWith("/") ? path.startsWith(entry) : path === entry;
}

/** The table as ARCHITECTURE.md prints it. */
export function importTableMarkdown(): string {
  const list = (names: readonly string[] = [], quote = ""): string =>
    names.length === 0 ? "–" : names.map((name) => quote + name + quote).join(", ");
  return [
    "| part | files in `src/` | imports | types only | lazily | packages |",
    "| --- | --- | --- | --- | --- | --- |",
    ...PARTS.map(
      ({ name, files, imports, types, lazily, packages }) =>
        `| **${name}** | ${list(files, "`")} | ${list(imports)} | ${list(types)} | ${list(lazily)} | ${list(packages, "`")} |`,
    ),
  ].join("\n");
}
