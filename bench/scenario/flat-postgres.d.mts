import type { Storage } from "../../src/storage/storage.ts";
import type { FlatRow } from "../flat.mjs";

/** A database of its own: how to make a storage on it, and how to hold a snapshot of it open until it is let go. */
export interface Place {
  create(): Promise<Storage>;
  hold(): Promise<() => Promise<void>>;
}

/** See flat-postgres.mjs. */
export declare function underOldSnapshot(options: {
  place: () => Promise<Place>;
  jobs: number;
  rounds: number;
}): Promise<FlatRow[]>;

export declare function promotedUnderOldSnapshot(options: {
  place: () => Promise<Place>;
  jobs: number;
  rounds: number;
}): Promise<FlatRow[]>;

export declare function atOnce(options: {
  place: () => Promise<Place>;
  claimers: number;
  rounds: number;
}): Promise<FlatRow & { shares: number[]; empty: number; short: number }>;
