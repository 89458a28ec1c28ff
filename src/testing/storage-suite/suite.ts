import type { Clock } from "../../clock.ts";
import { InvalidOptionError } from "../../errors.ts";
import type { Storage } from "../../storage/storage.ts";
import { beatSection } from "./beat.ts";
import { changeSection } from "./change.ts";
import { claimSection } from "./claim.ts";
import { closingSection } from "./closing.ts";
import { enqueueSection } from "./enqueue.ts";
import { fencingSection } from "./fencing.ts";
import { limitSection } from "./limit.ts";
import { lookSection } from "./look.ts";
import { markedSection } from "./marked.ts";
import { mixedSection } from "./mixed.ts";
import { namesSection } from "./names.ts";
import { noteSection } from "./note.ts";
import { orderSection } from "./order.ts";
import { pauseSection } from "./pause.ts";
import { payloadsSection } from "./payloads.ts";
import { promoteSection } from "./promote.ts";
import { pruneSection } from "./prune.ts";
import { rescueSection } from "./rescue.ts";
import { schedulesSection } from "./schedules.ts";
import type { Case, Section } from "./section.ts";
import { settleSection } from "./settle.ts";
import { settleRepeatedSection } from "./settle-repeated.ts";
import { Stage } from "./stage.ts";
import { statsSection } from "./stats.ts";
import { uniqueSection } from "./unique.ts";
import { uniqueLifeSection } from "./unique-life.ts";
import { watchSection } from "./watch.ts";

/** The sections in the order of a job's life. */
const SECTIONS: readonly Section[] = [
  enqueueSection,
  payloadsSection,
  namesSection,
  uniqueSection,
  claimSection,
  markedSection,
  orderSection,
  limitSection,
  settleSection,
  settleRepeatedSection,
  fencingSection,
  noteSection,
  beatSection,
  uniqueLifeSection,
  rescueSection,
  promoteSection,
  schedulesSection,
  pruneSection,
  lookSection,
  statsSection,
  mixedSection,
  changeSection,
  pauseSection,
  watchSection,
  closingSection,
];

/**
 * Makes a storage for one case: fresh, empty and not yet opened. Its scheduling must follow `clock`, and
 * its judgement of who is lost `liveness` (ms).
 */
export type CreateStorage = (time: { clock: Clock; liveness: () => number }) => Promise<Storage> | Storage;

/** What the suite needs of a test framework: vitest, mocha and node:test have it. */
export interface SuiteFramework {
  readonly describe: (name: string, define: () => void) => unknown;
  readonly it: {
    (name: string, run: () => Promise<void>): unknown;
    readonly skip: (name: string, run: () => Promise<void>) => unknown;
  };
}

/** How the suite treats an engine. */
export interface StorageSuiteOptions {
  /** Cases that this engine cannot pass, `"section: case"`, each with the reason, which is shown. */
  readonly skip?: Readonly<Record<string, string>>;
  /** What to do with a storage after its case, besides closing it: remove its folder, for instance. */
  readonly cleanUp?: (storage: Storage) => Promise<void> | void;
}

/**
 * The contract of a storage as tests: an engine that passes them can carry jobwright. Every case gets a
 * storage of its own; assertions are those of `node:assert`.
 *
 * ```ts
 * import { describe, it } from "vitest";
 *
 * storageSuite("mine", (time) => new MyStorage(time), { describe, it });
 * ```
 *
 * @throws InvalidOptionError for a skip that names no case
 */
export function storageSuite(
  label: string,
  create: CreateStorage,
  { describe, it }: SuiteFramework,
  options: StorageSuiteOptions = {},
): void {
  const skips = new Map(Object.entries(options.skip ?? {}));
  describe(`storage contract: ${label}`, () => {
    for (const section of SECTIONS) {
      describe(section.title, () => {
        for (const one of section.cases) {
          const { name } = one;
          const full = `${section.title}: ${name}`;
          const reason = skips.get(full);
          skips.delete(full);
          const test = async (): Promise<void> => onStage(create, options, one);
          if (reason === undefined) it(name, test);
          else it.skip(`${name} (skipped: ${reason})`, test);
        }
      });
    }
    for (const unknown of skips.keys()) {
      throw new InvalidOptionError("skip", unknown, "It names no case of the storage suite.");
    }
  });
}

/** How many cases there are, for whoever wants to be sure that none got lost. */
export function storageSuiteSize(): number {
  return SECTIONS.reduce((n, { cases }) => n + cases.length, 0);
}

async function onStage(create: CreateStorage, { cleanUp }: StorageSuiteOptions, one: Case): Promise<void> {
  const stage = await Stage.open(create);
  try {
    await one.run(stage);
    // Whatever a case did, counters and listings must agree with each other after it.
    if (one.ends !== true) await stage.checkCounts();
  } finally {
    await stage.close();
    await cleanUp?.(stage.storage);
  }
}
