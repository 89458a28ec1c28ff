export { LmdbStorage, type LmdbStorageOptions } from "./lmdb-storage.ts";
