import { createHash } from "node:crypto";
import type { JobId } from "../../job/job.ts";
import type { Lease } from "../storage.ts";
import type { Database, Queryable, Statement } from "./database.ts";
import { encodeText } from "./text.ts";
import type { Policies } from "./policies.ts";

/** What the parts of the engine share. */
export interface Store {
  readonly database: Database;
  /** Quoted, to be put before every name. */
  readonly schema: string;
  readonly label: string;
  /** The instant of a call by an injected clock; `null`: by the database's. */
  now(): number | null;
  /** The time that liveness is judged by; `null`: the database's. */
  alive(): number | null;
  /** A statement that is prepared once in each connection. `$s` stands for the schema. */
  statement(name: string, text: string): Statement;
  /**
   * How long a call may take that whoever makes it repeats: shorter than his patience, so that a connection that
   * has gone dead costs one try and not the call.
   */
  readonly promptMs: number;
  readonly leases: Leases;
  readonly policies: Policies;
}

/** For calls that are repeated when they fail. */
export function prompt({ database, promptMs }: Store): Queryable {
  return { query: (statement, values) => database.query(statement, values, { deadlineMs: promptMs }) };
}

/** Names of prepared statements must differ between two storages of one pool. */
export function statements(schema: string): Store["statement"] {
  const mark = createHash("sha256").update(schema).digest("hex").slice(0, 8);
  const known = new Map<string, Statement>();
  return (name, text) => {
    let statement = known.get(name);
    if (statement === undefined) {
      statement = { name: `jobwright_${mark}_${name}`, text: text.replaceAll("$s", () => schema) };
      known.set(name, statement);
    }
    return statement;
  };
}

// ── Leases ───────────────────────────────────────────────────────────────────

/** Jobs in one lease row. */
export const LEASE_JOBS = 500;

/**
 * Where the leases of this process stand in the lease rows, so that the check of a settle is one look into an
 * array and the row is deleted with its last job. Knowing nothing is never wrong, only slower.
 */
export class Leases {
  readonly #tokens = new Map<string, Map<JobId, number>>();
  readonly #done: string[] = [];

  /** A claim or a rescue gave these jobs, in the order of the lease's rows. */
  add(token: string, ids: readonly JobId[]): void {
    if (ids.length === 0) return;
    const positions = new Map<JobId, number>();
    for (const [index, id] of ids.entries()) positions.set(id, index + 1);
    this.#tokens.set(token, positions);
  }

  /** From 1; 0 when it is not known. */
  positionOf({ token, id }: Lease): number {
    return this.#tokens.get(token)?.get(id) ?? 0;
  }

  /** These leases no longer stand: what is left of their rows is for others to judge. */
  lose(leases: readonly Lease[]): void {
    for (const { token } of leases) this.#tokens.delete(token);
  }

  /** These runs have ended. */
  end(leases: readonly Lease[]): void {
    for (const { token, id } of leases) {
      const positions = this.#tokens.get(token);
      if (positions === undefined || !positions.delete(id) || positions.size > 0) continue;
      this.#tokens.delete(token);
      this.#done.push(token);
    }
  }

  /** Tokens of which nothing is left: their rows go with the next call. */
  takeDone(): string[] {
    return this.#done.splice(0);
  }

  /** That call failed. */
  putBackDone(tokens: readonly string[]): void {
    this.#done.push(...tokens);
  }
}

/**
 * Leases as parameters: `ids, generations, tokens, of (index into tokens, from 1), positions`. Numbers travel as
 * array literals, which cost neither side much.
 */
export function leaseParameters(
  leases: readonly Lease[],
  known: Leases,
): [ids: string, generations: string, tokens: string, of: string, positions: string] {
  const tokens: string[] = [];
  const indexes = new Map<string, number>();
  const of: number[] = [];
  for (const { token } of leases) {
    let index = indexes.get(token);
    if (index === undefined) {
      index = tokens.push(token);
      indexes.set(token, index);
    }
    of.push(index);
  }
  return [
    `{${leases.map(({ id }) => id).join()}}`,
    `{${leases.map(({ generation }) => generation).join()}}`,
    textArray(tokens),
    `{${of.join()}}`,
    `{${leases.map((lease) => known.positionOf(lease)).join()}}`,
  ];
}

/** Texts as an array literal. */
export function textArray(texts: readonly string[]): string {
  return `{${texts.map((text) => `"${encodeText(text).replace(/["\\]/g, "\\$&")}"`).join()}}`;
}
