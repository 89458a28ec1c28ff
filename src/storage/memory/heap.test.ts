import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Heap } from "./heap.ts";

describe("Heap", () => {
  it("merges sorted sources in order", () => {
    fc.assert(
      fc.property(fc.array(fc.array(fc.integer(), { minLength: 1 })), (lists) => {
        const sources = lists.map((list) => [...list].sort((a, b) => a - b));
        const heap = new Heap([...sources], (a, b) => (a[0] as number) < (b[0] as number));
        const merged: number[] = [];
        for (let top = heap.top(); top !== undefined; top = heap.top()) {
          merged.push(top.shift() as number);
          if (top.length === 0) heap.dropTop();
          else heap.settleTop();
        }
        expect(merged).toEqual(lists.flat().sort((a, b) => a - b));
      }),
    );
  });
});
