import type { Client } from "pg";
import type { MigrationDatabase } from "../../src/storage/postgres/migrate.ts";
import type { MigrationQueryable } from "../../src/storage/postgres/stored-version.ts";

/** The least that migrating needs, over clients of `pg`, so that the runner is tested apart from our access. */
export function overClients(next: () => Client): MigrationDatabase {
  const on = (client: Client): MigrationQueryable => ({
    query: async ({ text }, values) => {
      const types = { getTypeParser: () => (value: string) => value };
      const { rows } = await client.query<(string | null)[]>({
        text,
        values: [...values],
        rowMode: "array",
        types,
      });
      return rows;
    },
  });
  return {
    query: (statement, values) => on(next()).query(statement, values),
    async transaction(body) {
      const client = next();
      await client.query("begin");
      try {
        const answer = await body(on(client));
        await client.query("commit");
        return answer;
      } catch (error) {
        await client.query("rollback");
        throw error;
      }
    },
  };
}
