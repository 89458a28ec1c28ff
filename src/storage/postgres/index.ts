export { PostgresStorage, type PostgresStorageOptions } from "./postgres-storage.ts";
export type { PgPool } from "./database.ts";
export { getMigrations, migrateSql } from "./migrations.ts";
