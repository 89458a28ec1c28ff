import { InvalidOptionError } from "../../errors.ts";

/** PostgreSQL cuts longer names off without an error, and two of them would become one. */
const IDENTIFIER_BYTES_MAX = 63;
const REMEDY = `Use 1 to ${IDENTIFIER_BYTES_MAX} bytes of UTF-8 without control characters, not beginning with "pg_".`;

/**
 * Check the name of a schema. Everything else goes: quotes, dots, spaces, capitals, any script.
 *
 * @throws InvalidOptionError
 */
export function checkSchemaName(schema: unknown): asserts schema is string {
  if (
    typeof schema !== "string" ||
    schema === "" ||
    Buffer.byteLength(schema) > IDENTIFIER_BYTES_MAX ||
    /^pg_|^information_schema$|\p{Cc}/u.test(schema) ||
    !schema.isWellFormed()
  ) {
    throw new InvalidOptionError("schema", schema, REMEDY);
  }
}

/** A name as SQL: whatever is in it, it stays one name, also within a body between dollar marks. */
export function quoteIdentifier(name: string): string {
  const quoted = `"${name.replaceAll('"', '""')}"`;
  if (!/\$[^$\s"]*\$/.test(name)) return quoted;
  // A mark in it could end such a body; the other spelling has no dollar.
  return `U&${quoted.replaceAll("\\", "\\\\").replaceAll("$", "\\0024")}`;
}

/** A text as SQL, whatever `standard_conforming_strings` says of backslashes. */
export function quoteLiteral(text: string): string {
  const quoted = `'${text.replaceAll("'", "''").replaceAll("\\", "\\\\")}'`;
  return text.includes("\\") ? `E${quoted}` : quoted;
}

/**
 * The name of a relation as SQL text, to be cast to `regclass`, which does not know the spelling that
 * {@link quoteIdentifier} takes for names with dollar marks.
 *
 * @param schema quoted
 */
export function quoteRelation(schema: string, relation: string): string {
  const plain = schema.startsWith("U&")
    ? schema.slice(2).replace(/\\\\|\\0024/g, (escape) => (escape === "\\0024" ? "$" : "\\"))
    : schema;
  const literal = quoteLiteral(`${plain}.${relation}`);
  if (!literal.includes("$")) return literal;
  return `${literal.startsWith("E") ? "" : "E"}${literal.replaceAll("$", "\\044")}`;
}

/** A body of code as SQL, between marks that do not occur in it. */
export function quoteBody(mark: string, body: string): string {
  for (let n = 0; ; n++) {
    const tag = `$${mark}${n === 0 ? "" : n}$`;
    // A body that ends like the mark begins would end one mark too early.
    if (!`${body}$`.includes(tag)) return `${tag}${body}${tag}`;
  }
}
