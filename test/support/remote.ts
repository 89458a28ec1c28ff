import { engines, type StorageKind } from "./storages.ts";
import { throughServers } from "./through-server.ts";

/** Every storage there is, through a job server. */
export const remoteStorages: readonly StorageKind[] = throughServers(engines);
