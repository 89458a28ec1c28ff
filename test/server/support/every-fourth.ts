import type { SuiteFramework } from "../../../src/testing/storage-suite/index.ts";

/** A framework that is told of the first test of each section and of every fourth after it. */
export function everyFourth(framework: SuiteFramework): SuiteFramework {
  return every(4, framework);
}

/** The same with every eighth. */
export function everyEighth(framework: SuiteFramework): SuiteFramework {
  return every(8, framework);
}

function every(nth: number, { describe, it }: SuiteFramework): SuiteFramework {
  let told = 0;
  const some = (name: string, run: () => Promise<void>): unknown => {
    told += 1;
    return told % nth === 1 ? it(name, run) : undefined;
  };
  return {
    describe: (name, section) =>
      describe(name, () => {
        told = 0;
        section();
      }),
    it: Object.assign(some, { skip: it.skip }),
  };
}
