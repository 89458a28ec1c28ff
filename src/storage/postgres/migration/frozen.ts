import { quoteLiteral, quoteRelation } from "../quoting.ts";

/**
 * The SQL of a released step: it never changes, so it is kept as the text that it was, apart from the living
 * sources. In it, `«schema»` stands for the schema, `«relation name»` for the name of a relation as a literal, and
 * `«text …»` for another literal with the schema in it.
 */
export function frozen(...parts: readonly string[]): (schema: string) => string {
  const text = parts.join("");
  return (schema) =>
    text
      .replace(/«relation (\w*)»/g, (_, name: string) => quoteRelation(schema, name))
      .replace(/«text ((?:«schema»|[^»])*)»/g, (_, literal: string) =>
        quoteLiteral(literal.replaceAll("«schema»", () => schema)),
      )
      .replaceAll("«schema»", () => schema);
}
