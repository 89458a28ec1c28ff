// Goal: whatever is asked of an engine, in whatever order, it answers as the contract says.
// Method: fast-check draws sequences of commands and gives each command to the engine and to a plain
// model of the contract; after every command all that can be seen of both must be equal. Beside it several
// clients call one engine at once, in random interleavings, and what must hold in any order is checked.
//
// Both sizes repeat with JOBWRIGHT_SEED; a failure prints the command that runs the failing sequence alone.

import { LmdbStorage } from "../src/storage/lmdb/index.ts";
import { MemoryStorage } from "../src/storage/memory/index.ts";
import { PostgresStorage } from "../src/storage/postgres/index.ts";
import { concurrentRun } from "./model/concurrent.ts";
import type { MakeStorage } from "./model/pair.ts";
import { modelRun } from "./model/run.ts";
import { giveBackSchemas, takeSchema } from "./support/postgres/schemas.ts";
import { size } from "./support/size.ts";
import { throughServer } from "./support/through-server.ts";

const memory: MakeStorage = ({ clock, liveness }) => new MemoryStorage({ clock, liveness });

modelRun("memory", memory, { sequences: size(100, 2_000), commands: 60, reopen: false });
concurrentRun("memory", memory, { runs: size(25, 500) });

// The engine on disk is closed and opened again in between.
const lmdb: MakeStorage = (time, folder) => new LmdbStorage({ ...time, path: folder() });
modelRun("lmdb", lmdb, { sequences: size(25, 500), commands: 60, reopen: true });
concurrentRun("lmdb", lmdb, { runs: size(5, 100) });

// One store at a time: a new folder means that the one before is done with.
let inUse: { readonly folder: string; readonly place: Awaited<ReturnType<typeof takeSchema>> } | undefined;
const postgres: MakeStorage = async (time, folder) => {
  if (inUse?.folder !== folder()) {
    await giveBackSchemas();
    inUse = { folder: folder(), place: await takeSchema() };
  }
  return new PostgresStorage({ ...time, ...inUse.place });
};
modelRun("postgres", postgres, { sequences: size(15, 300), commands: 60, reopen: true });
concurrentRun("postgres", postgres, { runs: size(5, 100) });

// The same through a job server: what crosses the wire comes out equal, whatever the sequence.
const ws: MakeStorage = ({ clock, liveness }) => throughServer(new MemoryStorage({ clock, liveness }));
modelRun("ws over memory", ws, { sequences: size(10, 200), commands: 60, reopen: false });
concurrentRun("ws over memory", ws, { runs: size(5, 100) });
