import { join } from "node:path";
import { Gate } from "./gate.ts";
import { addressSpaceBytes, bootId } from "./machine.ts";
import { checkFormat, FORMAT, prepareFolder } from "./refuse.ts";
import { Store } from "./store.ts";

interface Shared {
  readonly store: Promise<Store>;
  members: number;
  /** The end of the one before on the same folder. */
  closed: Promise<void> | undefined;
}

/** The stores this process has open, by the real path of their folder. */
const shared = new Map<string, Shared>();

/**
 * The store of a folder, opened for the first who asks and closed when the last has left.
 *
 * @throws StorageRefusedError, StorageVersionError, StorageCorruptedError, StorageUnavailableError
 */
export async function joinStore(
  path: string,
  label: string,
  mapBytes: number | undefined,
): Promise<{ readonly store: Store; leave(): Promise<void> }> {
  const folder = prepareFolder(path, label);
  const known = shared.get(folder);
  let entry: Shared;
  if (known !== undefined && known.members > 0) {
    entry = known;
  } else {
    entry = { store: openAfter(known?.closed, folder, label, mapBytes), members: 0, closed: undefined };
    shared.set(folder, entry);
  }
  entry.members++;
  try {
    return { store: await entry.store, leave: () => leave(folder, entry) };
  } catch (error) {
    entry.members--;
    if (shared.get(folder) === entry && entry.members === 0) shared.delete(folder);
    throw error;
  }
}

async function openAfter(
  closed: Promise<void> | undefined,
  folder: string,
  label: string,
  mapBytes: number | undefined,
): Promise<Store> {
  await closed;
  const gate = new Gate(join(folder, "locks"));
  const store = new Store(folder, label, gate, {
    mapBytes: mapBytes ?? Math.min(MAP_BYTES, Math.floor(addressSpaceBytes() / 4)),
    volatileMapBytes: Math.min(VOLATILE_MAP_BYTES, Math.floor(addressSpaceBytes() / 16)),
    bootId: bootId(),
  });
  await store.open((environments) =>
    checkFormat(
      environments.durable,
      label,
      () => store.instances.olderThan(environments.volatile, FORMAT),
      (body) => environments.writeDurable(body),
    ),
  );
  return store;
}

async function leave(folder: string, entry: Shared): Promise<void> {
  entry.members--;
  if (entry.members > 0) return;
  const store = await entry.store;
  entry.closed = store.close();
  await entry.closed;
  if (shared.get(folder) === entry && entry.members === 0) shared.delete(folder);
}

/** Address space costs nothing; growing the map later would be a hazard to other processes. */
const MAP_BYTES = 64 * 2 ** 30;

/** Room for the leases of millions of running jobs. */
const VOLATILE_MAP_BYTES = 2 ** 30;
