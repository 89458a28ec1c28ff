import { exponential } from "../../../../job/backoff.ts";
import { limits } from "../../../../job/limits.ts";
import { quoteLiteral } from "../../quoting.ts";
import { plannedFunction } from "./planner.ts";

/** What holds for a name that no worker has told about; the built-in options of `enqueue`. */
const BUILT_IN = JSON.stringify({
  maxRetries: 5,
  backoff: exponential(),
  timeoutMs: 900_000,
  retention: { completedMs: 86_400_000, cancelledMs: 604_800_000, deadMs: 604_800_000 },
});

/**
 * `enqueue(name, payload, options)`: a job from SQL, in the transaction of the caller; answers its id. Options are
 * `queue`, `priority`, `in_ms`, `at` (timestamptz), `id`, `tags`, `max_retries` (null: without end), `unique`, `limit`.
 *
 * `unique` is `{key, scope, while, for_ms, error, inherit}`: held while the job is `waiting`, `live` (unless it says
 * otherwise) or null; of a key that is held, the answer is the id of its holder, or an error when that is wanted.
 * `limit` is `{key, scope, concurrency}`. The scope of both is the name of the job unless they say otherwise.
 */
export function sqlFunctions(s: string): string {
  return `${plannedFunction(
    s,
    "enqueue(p_name text, p_payload json default 'null', p_options json default '{}') returns bigint",
    `
declare
  v_key text;
  v_definition ${s}.definition;
  v_queue text;
  v_priority smallint;
  v_policy jsonb;
  v_policy_text text;
  v_policy_id bigint;
  v_tags text;
  v_given text := p_options ->> 'id';
  v_hash text;
  v_existing bigint;
  v_existing_hash text;
  v_at double precision := extract(epoch from (p_options ->> 'at')::timestamptz) * 1000;
  v_payload text := p_payload::text;
  v_id bigint;
  v_unique json := nullif((p_options -> 'unique')::text, 'null')::json;
  v_limit json := nullif((p_options -> 'limit')::text, 'null')::json;
  v_while text;
  v_unique_id uuid;
  v_limit_id uuid;
  v_extra jsonb;
  v_holder json;
begin
  ${refuse("p_name is null or length(p_name) not between 1 and " + limits.nameLength + " or p_name ~ '[[:cntrl:]]'", "the name of a job is 1 to " + limits.nameLength + " characters, none of them a control character, not %", "coalesce(quote_literal(p_name), 'null')")}
  ${refuse("v_payload is null", "the payload of % is null; for none, pass %", "quote_literal(p_name), quote_literal('null') || '::json'")}
  ${refuse(`octet_length(v_payload) > ${limits.payloadBytes}`, `the payload of % has % bytes; the limit is ${limits.payloadBytes}`, "quote_literal(p_name), octet_length(v_payload)")}
  for v_key in select json_object_keys(coalesce(p_options, '{}')) loop
    ${refuse("v_key not in ('queue', 'priority', 'in_ms', 'at', 'id', 'tags', 'max_retries', 'unique', 'limit')", "unknown option %; known are queue, priority, in_ms, at, id, tags, max_retries, unique, limit", "quote_literal(v_key)")}
  end loop;
  select * into v_definition from ${s}.definition where name = p_name;
  v_queue := coalesce(p_options ->> 'queue', v_definition.queue, 'default');
  v_priority := coalesce((p_options ->> 'priority')::smallint, v_definition.priority, 0);
  ${refuse("length(v_queue) not between 1 and " + limits.nameLength + " or v_queue ~ '[[:cntrl:]]'", "the queue is 1 to " + limits.nameLength + " characters, none of them a control character, not %", "quote_literal(v_queue)")}
  ${refuse(`v_priority not between ${limits.priorityMin} and ${limits.priorityMax}`, `the priority is % but must be ${limits.priorityMin} to ${limits.priorityMax}`, "v_priority")}
  ${refuse("length(v_given) not between 1 and " + limits.nameLength + " or v_given ~ '[[:cntrl:]]'", "the id is 1 to " + limits.nameLength + " characters, none of them a control character, not %", "quote_literal(v_given)")}
  v_tags := coalesce(nullif((p_options -> 'tags')::text, 'null'), v_definition.tags);
  if v_tags = '[]' then
    v_tags := null;
  end if;
  v_policy_text := coalesce(v_definition.policy, ${quoteLiteral(BUILT_IN)});
  if p_options::jsonb ? 'max_retries' then
    v_policy := jsonb_set(v_policy_text::jsonb, '{maxRetries}', (p_options::jsonb) -> 'max_retries');
    ${refuse("jsonb_typeof(v_policy -> 'maxRetries') <> 'null' and (v_policy ->> 'maxRetries')::numeric not between 0 and 9007199254740991", "max_retries is % but must be a number from 0, or null for without end", "v_policy ->> 'maxRetries'")}
    v_policy_text := v_policy::text;
  end if;
  -- The first 8 bytes of the hash, as jobwright makes it of the same text.
  v_policy_id := ('x' || encode(substring(sha256(convert_to(v_policy_text, 'UTF8')) from 1 for 8), 'hex'))::bit(64)::bigint;

  ${ofKey("unique", ["key", "scope", "while", "for_ms", "error", "inherit"])}
  ${ofKey("limit", ["key", "scope", "concurrency"])}
  if v_unique is not null then
    ${refuse("v_given is not null", "a job has an id or a unique key, not both: leave out one of them", "")}
    v_while := case when v_unique::jsonb ? 'while' then v_unique ->> 'while' else 'live' end;
    ${refuse("v_while not in ('waiting', 'live')", "the unique key is held while %, but must be while waiting or live, or null", "quote_literal(v_while)")}
    ${refuse("(v_unique ->> 'for_ms')::double precision < 0", "the unique key is held for % ms, but must be held for at least 0", "v_unique ->> 'for_ms'")}
    v_extra := jsonb_build_object('unique', jsonb_strip_nulls(jsonb_build_object(
        'scope', coalesce(v_unique ->> 'scope', p_name), 'key', v_unique ->> 'key',
        'forMs', (v_unique ->> 'for_ms')::double precision, 'inherit', nullif((v_unique ->> 'inherit')::boolean, false),
        'onConflict', case when (v_unique ->> 'error')::boolean then 'error' else 'keep' end))
      || jsonb_build_object('while', v_while));
    v_holder := ${s}.take_keys(null, null, json_build_array(json_build_object(
      'i', v_unique_id, 's', coalesce(v_unique ->> 'scope', p_name), 'k', v_unique ->> 'key', 'r', false)))::json -> 0;
    if (v_holder ->> 2)::boolean then
      ${refuse("(v_unique ->> 'error')::boolean", "the unique key % is held by job %", "quote_literal(v_unique ->> 'key'), v_holder ->> 0", "unique_violation")}
      return v_holder ->> 0;
    end if;
  end if;
  if v_limit is not null then
    ${refuse(`coalesce((v_limit ->> 'concurrency')::numeric, 1) not between 1 and ${limits.limitConcurrency}`, `the concurrency of the limit key is % but must be 1 to ${limits.limitConcurrency}`, "v_limit ->> 'concurrency'")}
    v_extra := coalesce(v_extra, '{}') || jsonb_build_object('limit', jsonb_build_object(
      'scope', coalesce(v_limit ->> 'scope', p_name), 'key', v_limit ->> 'key',
      'concurrency', coalesce((v_limit ->> 'concurrency')::integer, 1)));
  end if;

  if v_given is not null then
    v_hash := rtrim(translate(encode(sha256(convert_to(v_payload, 'UTF8')), 'base64'), '+/', '-_'), '=');
    insert into ${s}.given (job, name, given_id, hash) values (0, p_name, v_given, v_hash) on conflict do nothing;
    if not found then
      select job, hash into v_existing, v_existing_hash from ${s}.given where name = p_name and given_id = v_given;
      ${refuse("v_existing_hash <> v_hash", "% with id % exists as job % with another payload", "quote_literal(p_name), quote_literal(v_given), v_existing", "unique_violation")}
      return v_existing;
    end if;
  end if;
  v_id := split_part(${s}.enqueue_batch(
    null, null,
    json_build_array(json_strip_nulls(json_build_object('q', v_queue, 'n', p_name, 'p', v_priority, 'o', v_policy_id::text, 'O', v_policy_text,
      'k', (v_policy_text::json) -> 'retention' -> 'completedMs', 't', v_tags, 'd', (p_options ->> 'in_ms')::double precision, 'a', v_at,
      'x', case when v_extra is not null then json_build_array(json_build_array(v_extra::text, v_unique_id, v_limit_id, v_extra -> 'limit' ->> 'concurrency')) end,
      'l', v_limit_id))),
    json_build_array(json_build_array(v_payload)),
    json_build_array(case when v_given is not null then json_build_array(v_given) end),
    true), '-', 1)::bigint;
  if v_given is not null then
    update ${s}.given set job = v_id where name = p_name and given_id = v_given;
  end if;
  if v_unique is not null then
    perform ${s}.keep_keys(null, null, null, array[v_id], array[v_unique_id],
      array[case v_while when 'live' then 2 when 'waiting' then 1 else 0 end::smallint],
      array[(v_unique ->> 'for_ms')::double precision], array[coalesce((v_unique ->> 'inherit')::boolean, false)],
      array[coalesce((v_unique ->> 'inherit')::boolean, false)]);
  end if;
  return v_id;
end`,
  )}
comment on function ${s}.enqueue(text, json, json) is
  'Stores a job in this transaction; answers its id. Options: queue, priority, in_ms, at, id, tags, max_retries, unique, limit.';
`;
}

/** Checks what both kinds of keys have, and makes the hash that stands for the key, as jobwright makes it. */
function ofKey(kind: "unique" | "limit", options: readonly string[]): string {
  const value = `v_${kind}`;
  const known = options.map((option) => `'${option}'`).join(", ");
  const scope = `coalesce(${value} ->> 'scope', p_name)`;
  return `if ${value} is not null then
    ${refuse(`json_typeof(${value}) <> 'object'`, `${kind} is % but must be an object with a key`, `${value}`)}
    for v_key in select json_object_keys(${value}) loop
      ${refuse(`v_key not in (${known})`, `unknown option % of ${kind}; known are ${options.join(", ")}`, "quote_literal(v_key)")}
    end loop;
    ${refuse(
      `coalesce(length(${value} ->> 'key'), 0) not between 1 and ${limits.nameLength} or ${value} ->> 'key' ~ '[[:cntrl:]]'`,
      `the key of ${kind} is 1 to ${limits.nameLength} characters, none of them a control character, not %`,
      `coalesce(quote_literal(${value} ->> 'key'), 'null')`,
    )}
    ${refuse(
      `length(${scope}) > ${limits.nameLength} or ${scope} ~ '[[:cntrl:]]'`,
      `the scope of ${kind} has at most ${limits.nameLength} characters, none of them a control character, not %`,
      `quote_literal(${scope})`,
    )}
    v_${kind}_id := left(encode(sha256(convert_to(
      octet_length(convert_to(${scope}, 'UTF8')) || ':' || ${scope} || (${value} ->> 'key'), 'UTF8')), 'hex'), 32)::uuid;
  end if;`;
}

/** An error of the caller, who reads it as a message of PostgreSQL. */
function refuse(when: string, message: string, values: string, code = "invalid_parameter_value"): string {
  return `if ${when} then
    raise 'jobwright: ${message}'${values === "" ? "" : `, ${values}`} using errcode = '${code}';
  end if;`;
}
