// A process that migrates: its first message says what and where. With `dieAt` it kills itself at that step: before
// it sends the n-th thing to the server, or as soon as it has (n + 0.5).

import { pathToFileURL } from "node:url";
import pg from "pg";

const { url, schema, texts, dieAt, deadlineMs } = await new Promise((resolve) =>
  process.once("message", resolve),
);
/** A build other than the checkout's own, to try a mutant. */
const dist = process.env.JOBWRIGHT_DIST;
const base = dist === undefined ? new URL("../../../dist/", import.meta.url) : pathToFileURL(`${dist}/`);
const { migrate } = await import(new URL("storage/postgres/migrate.js", base).href);

const migrations = texts.map(({ version, name, text }) => ({
  version,
  name,
  sql: (prefix) => text.replaceAll(':"schema"', () => prefix),
}));
const client = new pg.Client({ connectionString: url, application_name: `migrator ${process.pid}` });
await client.connect();

let steps = 0;
async function ask(text, values = []) {
  steps += 1;
  const step = steps;
  if (dieAt === step) process.kill(process.pid, "SIGKILL");
  const types = { getTypeParser: () => (value) => value };
  const answer = client.query({ text, values: [...values], rowMode: "array", types });
  if (dieAt === step + 0.5) process.kill(process.pid, "SIGKILL");
  return (await answer).rows;
}
const database = {
  query: ({ text }, values) => ask(text, values),
  async transaction(body) {
    await ask("begin");
    try {
      const answer = await body(database);
      await ask("commit");
      return answer;
    } catch (error) {
      await client.query("rollback");
      throw error;
    }
  },
};

// All together, once the last of them is connected.
process.send({ ready: true });
await new Promise((resolve) => process.once("message", resolve));
const result = await migrate(database, {
  schema,
  migrations,
  label: "the test's database",
  deadlineMs,
}).catch(({ name, message }) => ({ error: `${name}: ${message}` }));
process.send({ result, steps });
await client.end();
process.disconnect();
