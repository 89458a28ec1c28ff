// @ts-check
// Where the jobs of a run are kept: in a folder with LMDB, or in a schema of a PostgreSQL database. Nothing
// else in this program knows which.
import { rm } from "node:fs/promises";
import { join } from "node:path";

/**
 * @typedef {object} Stores
 * @property {string} kind what people call it
 * @property {boolean} seesDeath whether a process that is gone counts as lost at once; else by its silence
 * @property {string} advice for who may not use it
 * @property {(name: string) => string} urlOf for `connect`; may hold a password
 * @property {(name: string) => string} shown where it is, without secrets
 * @property {(name: string) => Promise<void>} remove
 */

/**
 * Folders in the folder of the run.
 *
 * @param {string} home
 * @returns {Stores}
 */
export function foldersIn(home) {
  return {
    kind: "LMDB",
    seesDeath: true,
    advice: " Use --store to keep the jobs in another folder.",
    urlOf: (name) => `lmdb:${join(home, name)}`,
    shown: (name) => join(home, name),
    remove: (name) => rm(join(home, name), { recursive: true, force: true }),
  };
}

/**
 * Schemas of a database.
 *
 * @param {string} url
 * @param {string} prefix of their names
 * @returns {Stores}
 */
export function schemasIn(url, prefix) {
  /** @param {string} name */
  const schemaOf = (name) => `${prefix}_${name}`.replaceAll("-", "_");
  return {
    kind: "PostgreSQL",
    seesDeath: false,
    advice: "",
    urlOf: (name) => `${url}${url.includes("?") ? "&" : "?"}schema=${schemaOf(name)}`,
    shown: (name) => `${addressOf(url)}, schema ${schemaOf(name)}`,
    async remove(name) {
      const { default: pg } = await import("pg");
      const client = new pg.Client({ connectionString: url });
      await client.connect();
      try {
        await client.query(`drop schema if exists "${schemaOf(name)}" cascade`);
      } finally {
        await client.end();
      }
    },
  };
}

/** @param {string} url */
function addressOf(url) {
  if (!URL.canParse(url)) return "the given database";
  const { host, pathname } = new URL(url);
  return `postgres://${host}${pathname}`;
}
