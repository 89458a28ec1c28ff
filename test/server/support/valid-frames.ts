import fc from "fast-check";
import { packArgs, PROTOCOL } from "../../../src/wire/message.ts";
import { METHODS, type MethodName } from "../../../src/wire/methods.ts";
import { interest as interestShape } from "../../../src/wire/values.ts";
import { ARGS, interest } from "./arbitraries.ts";

export const HELLO: readonly unknown[] = ["hello", { protocol: PROTOCOL, client: "fuzz" }];

/** Messages that a client might send, in frames: calls of every method, watches and the rest. */
export function validFrames(seed: number): unknown[][] {
  const methods = Object.keys(METHODS) as MethodName[];
  const frames: unknown[][] = [[[...HELLO]]];
  for (const [index, method] of methods.entries()) {
    const drawn = fc.sample(ARGS[method] as fc.Arbitrary<readonly unknown[]>, { seed, numRuns: 8 });
    for (const [at, args] of drawn.entries()) {
      frames.push([["call", 1 + index * 8 + at, method, packArgs(method, args)]]);
    }
  }
  for (const [index, value] of fc.sample(interest, { seed, numRuns: 6 }).entries()) {
    frames.push([
      ["watch", 10_000 + index, interestShape.out(value)],
      ["ping", 20_000 + index],
      ["unwatch", 10_000 + index],
    ]);
  }
  return frames;
}
