import { describe, expect, it } from "vitest";
import { exponential, fixed } from "../job/backoff.ts";
import { MalformedError } from "./shape.ts";
import { backoff, retention } from "./policy.ts";

describe("a policy that crosses", () => {
  const packed = () => backoff.out(exponential({ first: "2s" }));

  it("is one object for all jobs of a batch", () => {
    expect(backoff.in(packed())).toEqual(exponential({ first: "2s" }));
    expect(backoff.in(packed())).toBe(backoff.in(packed()));
  });

  it("is another when any of its fields is", () => {
    const first = backoff.in(packed());
    expect(backoff.in({ ...(packed() as object), jitter: 0.5 })).toEqual({ ...first, jitter: 0.5 });
    expect(backoff.in(backoff.out(fixed(0)))).toEqual(fixed(0));
    expect(retention.in({ completedMs: 1, cancelledMs: null, deadMs: 3 }).cancelledMs).toBeNull();
    expect(retention.in({ completedMs: 1, cancelledMs: 0, deadMs: 3 }).cancelledMs).toBe(0);
  });

  it("is checked however alike it looks", () => {
    retention.in({ completedMs: 1, cancelledMs: 2, deadMs: 3 });
    const wrong = [
      { completedMs: 1, cancelledMs: 2 },
      { completedMs: 1, cancelledMs: 2, other: 3 },
      { completedMs: "1", cancelledMs: 2, deadMs: 3 },
      [1, 2, 3],
      null,
    ];
    for (const value of wrong) expect(() => retention.in(value)).toThrow(MalformedError);
  });

  it("takes over nothing that it does not know", () => {
    const more = { completedMs: 1, cancelledMs: 2, deadMs: 3, other: "large" };
    expect(retention.in(more)).toEqual({ completedMs: 1, cancelledMs: 2, deadMs: 3 });
    expect(retention.in(more)).toEqual({ completedMs: 1, cancelledMs: 2, deadMs: 3 });
  });

  it("is nobody's to change: others have the same one", () => {
    const shared = retention.in({ completedMs: 1, cancelledMs: 2, deadMs: 3 });
    expect(() => Object.assign(shared, { completedMs: 0 })).toThrow(TypeError);
  });
});
