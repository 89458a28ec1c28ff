import type { Stage } from "./stage.ts";

/** A part of the contract and the cases that hold an engine to it. */
export interface Section {
  readonly title: string;
  readonly cases: readonly Case[];
}

export interface Case {
  /** A sentence about the storage. */
  readonly name: string;
  /** The case closes the storage: nothing can be looked at after it. */
  readonly ends?: boolean;
  run(stage: Stage): Promise<void>;
}
