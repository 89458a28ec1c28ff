import { InvalidOptionError } from "../../errors.ts";
import type { PgPool } from "./pg.ts";

/** Where a database is: a URL, or the user's own pool. */
export interface Source {
  readonly url?: string;
  readonly pool?: PgPool;
}

/** How a storage is named in messages: `postgres://host:port/database#schema`, never a user or a password. */
export function postgresLabel(source: Source, schema: string): string {
  const { host, port, database } = addressOf(source);
  const where = host.startsWith("/") ? encodeURIComponent(host) : host;
  return `postgres://${where}:${port}/${database}#${schema}`;
}

/**
 * Refuse what is no URL of one PostgreSQL server.
 *
 * @throws InvalidOptionError that quotes nothing but the scheme: whatever follows may hold a password
 */
export function checkUrl(url: unknown): asserts url is string {
  const refuse = (remedy: string): never => {
    throw new InvalidOptionError("url", typeof url === "string" ? shownUrl(url) : url, remedy);
  };
  if (typeof url !== "string") return refuse('Use text like "postgres://user:password@host:5432/database".');
  if (!/^postgres(?:ql)?:\/\//i.test(url)) return refuse('Use a URL that begins with "postgres://".');
  const parsed = parse(url);
  if (parsed === undefined || breaksOff(url, parsed)) {
    return refuse(
      'Use one host, as in "postgres://user:password@host:5432/database", ' +
        "and write special characters of user and password with encodeURIComponent().",
    );
  }
  const { port } = addressOf({ url });
  if (!(port >= 1 && port <= 65_535)) return refuse("Use a port from 1 to 65535.");
}

/** A password with "/", "?" or "#" in it ends the host early: its rest would stand for the database's name. */
function breaksOff(url: string, { hash, searchParams }: URL): boolean {
  const [, userinfo, path = "", query = ""] = /^[^/]*\/\/([^/?#]*@)?([^?#]*)(.*)/s.exec(url) ?? [];
  const isQueryOdd = userinfo === undefined && !searchParams.has("user") && query.includes("@");
  return hash !== "" || path.includes("@") || isQueryOdd;
}

/** Everything in the source that no message may hold, longest first. */
export function secretsOf({ url, pool }: Source): string[] {
  const found: (string | undefined)[] = [process.env["PGPASSWORD"]];
  const ofUrl = (text: string): void => {
    found.push(text, /^[a-z]+:\/\/[^:@/]*:(.*)@/is.exec(text)?.[1]);
    const parsed = parse(text);
    if (parsed === undefined) return;
    found.push(parsed.password, decoded(parsed.password));
    for (const key of ["password", "sslpassword"]) found.push(parsed.searchParams.get(key) ?? undefined);
  };
  if (url !== undefined) ofUrl(url);
  if (pool !== undefined) {
    const { password, connectionString } = pool.options as Partial<Record<string, unknown>>;
    if (typeof password === "string") found.push(password);
    if (typeof connectionString === "string") ofUrl(connectionString);
  }
  const texts = found.filter((text): text is string => text !== undefined && text.length >= SECRET_LENGTH);
  return [...new Set(texts)].sort((a, b) => b.length - a.length);
}

/** What is shorter stands in every other text by chance, and hiding it would make all messages unreadable. */
const SECRET_LENGTH = 4;

interface Address {
  readonly host: string;
  readonly port: number;
  readonly database: string;
}

/** As `pg` finds it: what is given, then the environment, then the defaults. */
function addressOf({ url, pool }: Source): Address {
  const options = (pool?.options ?? {}) as Partial<Record<string, unknown>>;
  // Before anything was checked: whatever makes no sense is refused with a better error than this could give.
  const text = [url, options["connectionString"]].find((one) => typeof one === "string") ?? "";
  const parsed = parse(text);
  const given = (key: string): string | undefined => {
    const value = options[key];
    return typeof value === "string" || typeof value === "number" ? String(value) : undefined;
  };
  const first = (...values: (string | null | undefined)[]): string | undefined =>
    values.find((value): value is string => value !== undefined && value !== null && value !== "");
  const user = first(parsed?.username, given("user"), process.env["PGUSER"], process.env["USER"]);
  return {
    host:
      first(
        parsed?.searchParams.get("host"),
        decoded(parsed?.hostname),
        given("host"),
        process.env["PGHOST"],
      ) ?? "localhost",
    port: Number(
      first(parsed?.searchParams.get("port"), parsed?.port, given("port"), process.env["PGPORT"]) ?? 5432,
    ),
    database:
      first(decoded(parsed?.pathname.slice(1)), given("database"), process.env["PGDATABASE"], user) ?? "?",
  };
}

function parse(url: string): URL | undefined {
  // Without a host between "//" and "/" (it is in the environment then) but with a user, it is no URL.
  for (const text of [url, url.replace("@/", "@localhost/")]) {
    if (URL.canParse(text)) return new URL(text);
  }
  return undefined;
}

function decoded(text: string | undefined): string | undefined {
  try {
    return text === undefined ? undefined : decodeURIComponent(text);
  } catch {
    return text;
  }
}

function shownUrl(url: string): string {
  const scheme = /^[a-z+.-]{1,20}:/i.exec(url)?.[0];
  return scheme === undefined ? "…" : `${scheme}//…`;
}
