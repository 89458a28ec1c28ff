import type { Storage } from "../src/storage/storage.ts";

/** See flat.mjs. */
export interface FlatRow {
  kind: string;
  medianMs: number;
  baselineMs: number;
  ratio: number;
}

export declare const KINDS: readonly string[];

export declare function flat(options: {
  create: () => Promise<Storage>;
  size: number;
  rounds: number;
  kinds?: readonly string[];
  warmsUp?: boolean;
  onProgress?: (text: string) => void;
}): Promise<FlatRow[]>;
