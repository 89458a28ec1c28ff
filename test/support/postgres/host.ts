import { createDatabase, freshName, query } from "./database.ts";
import { findPostgres, findPrograms, OLDEST_MAJOR, type Places } from "./find.ts";
import { makePrivateFolder, removeFolder, removeLeftovers } from "./folder.ts";
import { type Guard, guard } from "./guard.ts";
import { LocalServer } from "./local-server.ts";
import { makeTemplate, type Template } from "./template.ts";

/** The server that all files of a run share, as others are told of it. */
export interface Shared {
  /** A database of this run. */
  readonly url: string;
  /** The database from which others are made. */
  readonly server: string;
  /** With what the names of this run's databases begin. */
  readonly prefix: string;
}

/** Each test process has its own connections, and each storage a few. */
const CONNECTIONS_MIN = 100;

/** Makes what a run needs when it is first asked for it, and removes all of it at the end. */
export class Host {
  readonly #places: Places;
  #shared: Promise<Shared> | undefined;
  #template: Promise<Template> | undefined;
  #server: LocalServer | undefined;
  #folder: string | undefined;
  #guard: Guard | undefined;

  constructor(places: Places = {}) {
    this.#places = places;
  }

  shared(): Promise<Shared> {
    return (this.#shared ??= this.#makeShared());
  }

  /** What private servers are made of. */
  template(): Promise<Template> {
    return (this.#template ??= this.#makeTemplate());
  }

  async close(): Promise<void> {
    const shared = await this.#shared?.catch(() => undefined);
    await this.#template?.catch(() => undefined);
    if (this.#server !== undefined) await this.#server[Symbol.asyncDispose]();
    else if (shared !== undefined) await dropAll(shared);
    if (this.#folder !== undefined) removeFolder(this.#folder);
    this.#guard?.end();
  }

  async #makeShared(): Promise<Shared> {
    const prefix = `jobwright_test_${freshName()}`;
    const found = findPostgres(this.#places);
    let server: string;
    if (found.kind === "url") {
      await check(found.url);
      server = found.url;
    } else {
      this.#server = await LocalServer.start(await this.template());
      server = this.#server.url;
    }
    return { url: await createDatabase(server, prefix), server, prefix };
  }

  async #makeTemplate(): Promise<Template> {
    const found = findPrograms(this.#places);
    await removeLeftovers();
    this.#folder = makePrivateFolder();
    this.#guard = guard(this.#folder);
    return makeTemplate(found, this.#folder, this.#guard);
  }
}

/** Say at once what a given server lacks, rather than let hundreds of tests fail by it. */
async function check(url: string): Promise<void> {
  const refuse = (why: string): Error => new Error(`TEST_DATABASE_URL (${withoutSecrets(url)}) ${why}`);
  const [row] = await query(
    url,
    `select current_setting('server_version_num')::int / 10000 as major,
            current_setting('max_connections')::int as connections,
            (select rolcreatedb or rolsuper from pg_roles where rolname = current_user) as may_create`,
  ).catch((error: Error) => {
    throw refuse(`cannot be used: ${error.message}`);
  });
  if (Number(row?.["major"]) < OLDEST_MAJOR) {
    throw refuse(
      `is PostgreSQL ${String(row?.["major"])}; set it to one of version ${OLDEST_MAJOR} or newer.`,
    );
  }
  if (row?.["may_create"] !== true) {
    throw refuse("names a user who may not create databases; grant it: alter role … createdb.");
  }
  if (Number(row["connections"]) < CONNECTIONS_MIN) {
    throw refuse(`allows ${String(row["connections"])} connections; set max_connections to 300.`);
  }
}

async function dropAll({ server, prefix }: Shared): Promise<void> {
  const made = await query(server, "select datname from pg_database where starts_with(datname, $1)", [
    prefix,
  ]);
  for (const { datname } of made) await query(server, `drop database "${String(datname)}" with (force)`);
}

function withoutSecrets(text: string): string {
  try {
    const url = new URL(text);
    return `${url.protocol}//${url.host}${url.pathname}`;
  } catch {
    return "not a URL";
  }
}
