/**
 * The text of a migration for `migration/00n-…/`, made when the next one is begun: what `frozen` turns into the same SQL
 * again. Cut it into files at statements, and write `sql: frozen(…)` into the migration.
 *
 * @param sql of the migration, for any name of a schema
 */
export function freeze(sql: (schema: string) => string): string {
  return sql(PROBE)
    .replace(COMMENT_OR_LITERAL, (token) => {
      if (!token.startsWith("'") || !token.includes(PROBE)) return token;
      const text = token.slice(1, -1).replaceAll("''", "'");
      const [, relation] = /^"@@"\.(\w*)$/.exec(text) ?? [];
      return relation === undefined ? `«text ${text}»` : `«relation ${relation}»`;
    })
    .replaceAll(PROBE, "«schema»");
}

const PROBE = '"@@"';
const COMMENT_OR_LITERAL = /--[^\n]*|'(?:[^']|'')*'/g;
