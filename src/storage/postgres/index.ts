export { PostgresStorage } from "./postgres-storage.ts";
export type { PostgresStorageOptions } from "./storage-options.ts";
export type { PgPool } from "./database.ts";
export { getMigrations, migrateSql } from "./migrations.ts";
