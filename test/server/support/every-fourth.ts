import type { SuiteFramework } from "../../../src/testing/storage-suite/index.ts";

/** A framework that is told of every fourth test alone. */
export function everyFourth({ describe, it }: SuiteFramework): SuiteFramework {
  let told = 0;
  const some = (name: string, run: () => Promise<void>): unknown => {
    told += 1;
    return told % 4 === 1 ? it(name, run) : undefined;
  };
  return { describe, it: Object.assign(some, { skip: it.skip }) };
}
