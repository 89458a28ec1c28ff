import { setTimeout as sleep } from "node:timers/promises";

/** Databases made or dropped at the same time. */
const AT_ONCE = 6;
/** How long a pool that was told to close may take for it. */
const CLOSING_MS = 5_000;
const LOOK_MS = 5;

/**
 * Fresh databases, copied from one per contender in which its schema was installed once: nobody inherits
 * the dead rows, the statistics or the caches of another round.
 */
export class Databases {
  #url;
  #admin;
  #made = new Set();
  #count = 0;

  constructor(url) {
    this.#url = url;
  }

  async open() {
    const { default: pg } = await import("pg");
    this.#admin = new pg.Pool({ connectionString: this.#url, max: AT_ONCE });
    this.#admin.on("error", () => undefined);
    await this.#admin.query("select 1");
  }

  /** What the server says of itself. */
  async facts() {
    const names = ["server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers"];
    const { rows } = await this.#admin.query(
      `select ${names.map((name) => `current_setting('${name}') as ${name}`).join(", ")}`,
    );
    return rows[0];
  }

  /** @returns the URL of a new database, empty or like the one of that URL */
  async create(like) {
    const name = `jobwright_bench_${process.pid}_${(this.#count += 1)}`;
    const template = like === undefined ? "template0" : nameOf(like);
    if (like !== undefined) await this.#left(template);
    await this.#admin.query(`create database ${name} template ${template}`);
    this.#made.add(name);
    const url = new URL(this.#url);
    url.pathname = name;
    return url.href;
  }

  async drop(url) {
    await this.#drop(nameOf(url));
  }

  /** Fresh statistics and no leftovers of loading, for every contender alike. */
  async settle(url) {
    const { default: pg } = await import("pg");
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await client.query("vacuum analyze");
    await client.end();
    await this.flush();
  }

  /** What one contender left to be written is not written in the time of the next. */
  async flush() {
    await this.#admin.query("checkpoint");
  }

  async close() {
    if (this.#admin === undefined) return;
    await Promise.all([...this.#made].map((name) => this.#drop(name)));
    await this.#admin.end();
  }

  async #drop(name) {
    await this.#left(name);
    await this.#admin.query(`drop database if exists ${name} with (force)`);
    this.#made.delete(name);
  }

  /** A pool that was told to close may still be closing; to cut it off would be an error in its process. */
  async #left(name) {
    const text = "select count(*)::int as n from pg_stat_activity where datname = $1";
    const until = Date.now() + CLOSING_MS;
    while (Date.now() < until && (await this.#admin.query(text, [name])).rows[0].n > 0) await sleep(LOOK_MS);
  }
}

function nameOf(url) {
  return new URL(url).pathname.slice(1);
}
