import { MissingDependencyError } from "../../errors.ts";

/**
 * The part of the package `pg` that the engine uses, by shape: whoever compiles against jobwright needs
 * neither the package nor its types.
 */

/** A `pg.Pool`, as its owner hands it in. */
export interface PgPool {
  readonly options: object;
  readonly totalCount: number;
  connect(): Promise<object>;
  end(): Promise<void>;
}

/** A value as `pg` sends it. */
export type Value = string | number | boolean | null;

/** A row as the server sent it: text, whatever the types. */
export type Row = readonly (string | null)[];

/** One statement as `client.query` takes it. */
export interface PgQuery {
  readonly name?: string;
  readonly text: string;
  readonly values?: readonly Value[];
  readonly rowMode: "array";
  readonly types: { getTypeParser(): (text: string) => string };
}

/** What `client.query` answers. */
export interface PgResult {
  readonly rows: Row[];
  readonly command?: string | null;
}

/** What `client.query` and `client.connect` call when they are done. */
type Callback<T> = (error: Error | null | undefined, result: T) => void;

/** A `pg.Client`, alone or from a pool. */
export interface PgClient {
  readonly host?: string;
  readonly port?: number;
  readonly processID?: number | null;
  readonly secretKey?: number | null;
  readonly connection?: { readonly stream?: { destroy(): void; resetAndDestroy?(): void } };
  query(query: PgQuery, callback: Callback<PgResult>): void;
  connect(callback: Callback<unknown>): void;
  end(callback: () => void): void;
  on(event: string, listener: (value: never) => void): unknown;
  once(event: string, listener: () => void): unknown;
  off(event: string, listener: (value: never) => void): unknown;
  ref?(): void;
  unref?(): void;
  getTransactionStatus?(): string | null;
}

/** A pool with the methods that are not for its owner's eyes. */
export interface PgPoolInside extends Omit<PgPool, "connect"> {
  readonly Client?: PgClientClass;
  /** Its owner has called `end()`. */
  readonly ending?: boolean;
  connect(
    callback: (error: Error | undefined, client: PgClient, done: (error?: unknown) => void) => void,
  ): void;
  on(event: string, listener: (value: never) => void): unknown;
  off(event: string, listener: (value: never) => void): unknown;
}

/** How to make a client; the options are those of `pg`. */
export type PgClientClass = new (options: Readonly<Record<string, unknown>>) => PgClient;

/** What the package exports. */
export interface Pg {
  readonly Client: PgClientClass;
  readonly Pool: new (options: Readonly<Record<string, unknown>>) => PgPoolInside;
}

/** Take values as the server sends them: parsing what is only handed on, or parsed again, costs time. */
export const RAW: PgQuery["types"] = { getTypeParser: () => (text) => text };

/**
 * Load the package when it is needed: who stays with LMDB never installs it.
 *
 * @throws MissingDependencyError
 */
export async function loadPg(load: () => Promise<unknown> = () => import("pg")): Promise<Pg> {
  try {
    const module = (await load()) as Pg & { readonly default?: Pg };
    return module.default ?? module;
  } catch (error) {
    const { code, message = "" } = (error ?? {}) as { code?: unknown; message?: string };
    const missing = /Cannot find (?:package|module) '([^']+)'/.exec(message)?.[1];
    if (code !== "ERR_MODULE_NOT_FOUND" || missing === undefined) throw error;
    throw new MissingDependencyError("postgres://", "pg", error);
  }
}
