import type { JobDefaults } from "../storage.ts";
import { encodePolicy, encodeTags } from "./record.ts";
import { type Store, textArray } from "./store.ts";

/** Keep the options of definitions for the SQL function `enqueue`. Workers of one version write the same. */
export async function define(store: Store, definitions: readonly JobDefaults[]): Promise<void> {
  const statement = store.statement(
    "define",
    `insert into $s.definition as d (name, queue, priority, policy, tags)
     select * from unnest($1::text::text[], $2::text::text[], $3::text::smallint[], $4::text::text[], $5::text::text[])
       as u (name, queue, priority, policy, tags)
     order by name
     on conflict (name) do update
       set queue = excluded.queue, priority = excluded.priority, policy = excluded.policy, tags = excluded.tags
       where (d.queue, d.priority, d.policy, d.tags)
         is distinct from (excluded.queue, excluded.priority, excluded.policy, excluded.tags)`,
  );
  await store.database.query(statement, [
    textArray(definitions.map(({ name }) => name)),
    textArray(definitions.map(({ queue }) => queue)),
    `{${definitions.map(({ priority }) => priority).join()}}`,
    textArray(definitions.map((one) => encodePolicy(one).text)),
    textArray(definitions.map(({ tags }) => encodeTags(tags) ?? "[]")),
  ]);
}
