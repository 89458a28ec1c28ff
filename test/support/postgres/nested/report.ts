import { appendFileSync } from "node:fs";

/** What a nested run tells the test that started it. */
export interface Report {
  readonly shared?: string;
  readonly version?: string;
  readonly database?: string;
  readonly postmaster?: number;
  readonly ready?: boolean;
}

export function report(what: Report): void {
  const path = process.env["NESTED_REPORT"];
  if (path === undefined) throw new Error("NESTED_REPORT is not set: only set-up.test.ts starts this.");
  appendFileSync(path, `${JSON.stringify({ ...what, pid: process.pid })}\n`);
}
