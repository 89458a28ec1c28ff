import { StorageRefusedError, StorageUnavailableError } from "../../errors.ts";
import type { Logger } from "../../logger.ts";
import type { Statement } from "./connection.ts";
import type { Row, Value } from "./pg.ts";

/** The oldest server we know how to talk to: 13. */
const VERSION_MIN = 130_000;

/** What has to be known of a server before anything is stored on it. */
export const SERVER: Statement = {
  name: "jobwright_server",
  text:
    "select current_setting('server_version_num'), current_setting('server_encoding'), " +
    "pg_is_in_recovery()::text, current_setting('synchronous_commit')",
};

/**
 * Refuse a server that cannot hold a storage.
 *
 * @throws StorageRefusedError for its version or encoding; StorageUnavailableError while it is a standby,
 *   which may become the primary at any time
 */
export async function checkServer(
  server: { query(statement: Statement, values: readonly Value[]): Promise<Row[]> },
  label: string,
  logger: Logger,
): Promise<void> {
  const [version, encoding, isInRecovery, durability] = (await server.query(SERVER, []))[0] ?? [];
  if (!(Number(version) >= VERSION_MIN)) {
    const major = Math.floor(Number(version) / 10_000);
    throw new StorageRefusedError(
      `${label} is PostgreSQL ${major}; jobwright needs ${VERSION_MIN / 10_000} or newer. Upgrade the server.`,
    );
  }
  if (encoding !== "UTF8") {
    throw new StorageRefusedError(
      `${label} has the encoding ${encoding}, which cannot hold every payload. Create the database with ` +
        "encoding 'UTF8'.",
    );
  }
  if (isInRecovery === "true") {
    throw new StorageUnavailableError(`${label} is a read-only standby. Connect to the primary.`);
  }
  if (durability === "off") {
    logger.warn(
      `${label} has synchronous_commit off: jobs acknowledged shortly before a crash of the server can be lost.`,
    );
  }
}
