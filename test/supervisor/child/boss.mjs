// A program with a Supervisor, to be killed.

import { join } from "node:path";
import { pathToFileURL } from "node:url";

const load = (path) => import(pathToFileURL(join(process.env.JOBWRIGHT_TEST_DIST, path)).href);
const { silentLogger, stopOnSignals } = await load("index.js");
const { Supervisor } = await load("supervisor/index.js");

const supervisor = new Supervisor({ logger: silentLogger, ...JSON.parse(process.env.JOBWRIGHT_TEST_ABOUT) });
stopOnSignals([supervisor]);
await supervisor.start();
process.send({ children: supervisor.children.map(({ pid }) => pid) });
// The test's channel is not what keeps it.
process.channel.unref();
