/**
 * Sizes and seeds of the large tests. `npm test` runs the small size of everything, `npm run test:long`
 * the long one; both run the same code.
 */
export const isLong: boolean = process.env["JOBWRIGHT_LONG"] === "1";

/** How much of something this run does. The small size is at least a twentieth of the long one. */
export function size(small: number, long: number): number {
  if (small * 20 < long) throw new RangeError(`The small size ${small} is less than a twentieth of ${long}.`);
  return isLong ? long : small;
}

/**
 * The seed of a random test: `JOBWRIGHT_SEED` when set, else random. It is printed with the command
 * that repeats the run.
 *
 * @param what names the test in the printed line
 */
export function seed(what: string): number {
  const given = process.env["JOBWRIGHT_SEED"];
  const value = given === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(given);
  if (!Number.isInteger(value)) throw new TypeError(`JOBWRIGHT_SEED is ${given}. Use an integer.`);
  const command = `JOBWRIGHT_SEED=${value} npm ${isLong ? "run test:long" : "test"}`;
  process.stderr.write(`${what}: seed ${value} (again: ${command})\n`);
  return value;
}

/** Numbers in [0, 1) that a seed repeats (mulberry32): for tests that draw without fast-check. */
export function randomFrom(start: number): () => number {
  let state = start | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
