import { inspect } from "node:util";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  InvalidOptionError,
  type JobwrightError,
  StorageClosedError,
  StorageCorruptedError,
  StorageFullError,
  StorageRefusedError,
  StorageUnavailableError,
} from "../../errors.ts";
import {
  isConflict,
  isStalePlan,
  isUnprepared,
  leavesConnectionUsable,
  scrubber,
  typedError,
} from "./failures.ts";

const LABEL = "postgres://db.example:5432/app#jobwright";

const failure = (code: string, message: string): Error => Object.assign(new Error(message), { code });
const typed = (error: unknown, secrets: readonly string[] = []): JobwrightError =>
  typedError(error, LABEL, scrubber(secrets));

describe("a failure becomes a typed error that says what to do", () => {
  const unavailable = StorageUnavailableError;
  const refused = StorageRefusedError;
  const table: [code: string, message: string, type: new (...args: never[]) => Error, remedy: RegExp][] = [
    ["ECONNREFUSED", "connect ECONNREFUSED 10.0.0.1:5432", unavailable, /Check that the server is up/],
    ["ECONNRESET", "read ECONNRESET", unavailable, /repeat/],
    ["EPIPE", "write EPIPE", unavailable, /repeat/],
    ["ETIMEDOUT", "connect ETIMEDOUT", unavailable, /repeat/],
    ["EHOSTUNREACH", "connect EHOSTUNREACH", unavailable, /repeat/],
    ["ENETUNREACH", "connect ENETUNREACH", unavailable, /repeat/],
    ["ENOTFOUND", "getaddrinfo ENOTFOUND db.example", unavailable, /repeat/],
    ["EAI_AGAIN", "getaddrinfo EAI_AGAIN db.example", unavailable, /repeat/],
    ["EMFILE", "connect EMFILE", unavailable, /repeat/],
    ["ENOENT", "connect ENOENT /run/.s.PGSQL.5432", unavailable, /repeat/],
    ["EACCES", "connect EACCES /run/.s.PGSQL.5432", refused, /rights of the socket/],
    ["", "Connection terminated unexpectedly", unavailable, /repeat/],
    ["", "Connection terminated due to connection timeout", unavailable, /repeat/],
    ["", "timeout expired", unavailable, /repeat/],
    ["", "Client has encountered a connection error and is not queryable", unavailable, /repeat/],
    ["", "timeout exceeded when trying to connect", unavailable, /Raise max of the pool/],
    ["", "Query read timeout", unavailable, /query_timeout/],
    ["", "Cannot use a pool after calling end on the pool", StorageClosedError, /Connect again/],
    ["08006", "connection failure", unavailable, /repeat/],
    ["08P01", "query_wait_timeout", unavailable, /repeat/],
    ["08P01", "no such database: app", refused, /Create the database/],
    ["08P01", "no such user: bob", refused, /Check the user/],
    ["08P01", "unsupported startup parameter: options", refused, /Check the address/],
    ["57P01", "terminating connection due to administrator command", unavailable, /repeat/],
    ["57P02", "terminating connection because of crash of another server process", unavailable, /repeat/],
    ["57P03", "the database system is starting up", unavailable, /repeat/],
    ["57P04", "database was dropped", unavailable, /repeat/],
    ["57P05", "terminating connection due to idle-session timeout", unavailable, /repeat/],
    ["25P03", "terminating connection due to idle-in-transaction timeout", unavailable, /repeat/],
    ["53300", "sorry, too many clients already", unavailable, /max_connections/],
    ["25006", "cannot execute INSERT in a read-only transaction", unavailable, /connect to the primary/],
    ["57014", "canceling statement due to statement timeout", unavailable, /statement_timeout/],
    ["40001", "could not serialize access due to concurrent update", unavailable, /Repeat later/],
    ["40P01", "deadlock detected", unavailable, /Repeat later/],
    ["55P03", "canceling statement due to lock timeout", unavailable, /Repeat later/],
    ["28P01", 'password authentication failed for user "bob"', refused, /Check user and password/],
    ["28000", 'no pg_hba.conf entry for host "10.0.0.9"', refused, /pg_hba\.conf/],
    [
      "",
      "SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a string",
      refused,
      /Check user and pass/,
    ],
    ["3D000", 'database "app" does not exist', refused, /Create the database/],
    ["42501", "permission denied for schema jobwright", refused, /Grant it the schema/],
    ["42P01", 'relation "jobwright.job" does not exist', refused, /jobwright migrate/],
    ["3F000", 'schema "jobwright" does not exist', refused, /jobwright migrate/],
    ["42883", "function jobwright.claim(text) does not exist", refused, /jobwright migrate/],
    ["", "The server does not support SSL connections", refused, /sslmode/],
    ["SELF_SIGNED_CERT_IN_CHAIN", "self-signed certificate in certificate chain", refused, /sslmode/],
    ["ERR_TLS_CERT_ALTNAME_INVALID", "Hostname/IP does not match", refused, /sslmode/],
    ["53100", 'could not extend file "base/1/2": No space left on device', StorageFullError, /Free disk/],
    ["53200", "out of memory", StorageFullError, /memory/],
    ["58030", "could not write to file: No space left on device", StorageFullError, /Free disk/],
    ["58030", "could not read block 3: Input/output error", unavailable, /repeat/],
    ["XX001", "invalid page in block 7", StorageCorruptedError, /backup/],
    ["XX002", 'index "job_pkey" contains unexpected zero page', StorageCorruptedError, /backup/],
    ["22P02", "invalid input syntax for type json", refused, /refused a statement/],
    ["XX000", "cache lookup failed for relation 16400", refused, /refused a statement/],
    ["", "something nobody has thought of", refused, /refused a statement/],
  ];
  test.each(table)("%s %s", (code, message, type, remedy) => {
    const error = typed(code === "" ? new Error(message) : failure(code, message));
    expect(error).toBeInstanceOf(type);
    expect(error.message).toMatch(remedy);
    expect(error.message).toContain(LABEL);
  });

  test("what is ours already stays as it is", () => {
    const error = new InvalidOptionError("x", 1, "No.");
    expect(typed(error)).toBe(error);
  });

  test("several attempts to connect are told in one message", () => {
    const error = Object.assign(
      new AggregateError([
        failure("ECONNREFUSED", "connect ECONNREFUSED ::1:5432"),
        failure("ECONNREFUSED", "connect ECONNREFUSED 127.0.0.1:5432"),
      ]),
      { message: "" },
    );
    expect(typed(error)).toBeInstanceOf(StorageUnavailableError);
    expect(typed(error).message).toContain("::1:5432; connect ECONNREFUSED 127.0.0.1:5432");
  });

  test("words decide nothing where the server's code does: it may quote anything", () => {
    for (const words of ["no such user", "certificate", "timeout expired", "No space left on device"]) {
      const error = typed(failure("22P02", `invalid input syntax for type json: ${words}`));
      expect(error, words).toBeInstanceOf(StorageRefusedError);
      expect(error.message, words).toContain("refused a statement");
    }
  });

  test("things that are no error are told as well", () => {
    for (const thrown of [undefined, null, "text", 7, {}]) {
      expect(typed(thrown)).toBeInstanceOf(StorageRefusedError);
    }
  });
});

describe("no message holds a secret", () => {
  const everything = (error: unknown): string =>
    inspect(error, { showHidden: true, depth: 20, getters: true }) + JSON.stringify(error);

  test("wherever in the first error it stands", () => {
    const letters = "abcdefghijklmnopqrstuvwxyzABC0123456789@/:#%\"'\\$&(.*+ü";
    const secret = fc
      .array(fc.constantFrom(...letters), { minLength: 8, maxLength: 20 })
      .map((chars) => `Q!${chars.join("")}`);
    const code = fc.constantFrom("", "ECONNREFUSED", "28P01", "22P02", "25006", "53100", "XX001", "42601");
    fc.assert(
      fc.property(secret, code, fc.string(), (password, sqlState, words) => {
        const message = `${words} ${password} ${words}`;
        const error = Object.assign(new Error(message, { cause: new Error(message) }), {
          ...(sqlState === "" ? {} : { code: sqlState }),
          client: { password },
          detail: message,
          input: message,
          where: message,
          errors: [new Error(message)],
        });
        expect(everything(typed(error, [password]))).not.toContain(password);
      }),
      { numRuns: 300 },
    );
  });

  test("nor what stands before the host of any URL", () => {
    const error = typed(new Error("Invalid URL postgres://bob:hunter22@db.example/app"));
    expect(error.message).toContain("postgres://…@db.example/app");
    expect(everything(error)).not.toContain("hunter22");
  });

  test("nor a value of a row", () => {
    const error = failure("22P02", 'invalid input syntax for type double precision: "my payload"');
    Object.assign(error, { detail: "Failing row contains (my payload)", where: "JSON data: my payload" });
    expect(everything(typed(error))).not.toContain("my payload");
  });

  test("and a long one is cut", () => {
    expect(typed(failure("42601", "x".repeat(100_000))).message.length).toBeLessThan(1_000);
  });
});

describe("what can be done about a failure", () => {
  test("conflicts are repeated", () => {
    for (const code of ["40001", "40P01", "55P03"]) expect(isConflict(failure(code, "")), code).toBe(true);
    for (const code of ["40002", "57014", "23505", "ECONNRESET"]) {
      expect(isConflict(failure(code, "")), code).toBe(false);
    }
  });

  test("lost prepared statements are known by what servers and poolers say", () => {
    for (const error of [
      failure("26000", 'prepared statement "x" does not exist'),
      failure("42P05", 'prepared statement "x" already exists'),
      failure("58000", 'prepared statement "x" does not exist'),
      failure("08P01", 'bind message supplies 2 parameters, but prepared statement "x" requires 1'),
    ]) {
      expect(isUnprepared(error), error.message).toBe(true);
    }
    for (const error of [failure("08P01", "no such database: x"), failure("42P01", "no such table")]) {
      expect(isUnprepared(error), error.message).toBe(false);
    }
    expect(isStalePlan(failure("0A000", "cached plan must not change result type"))).toBe(true);
    expect(isStalePlan(failure("0A000", "not supported"))).toBe(false);
  });

  test("a connection is used again only when the server has plainly refused a statement", () => {
    for (const code of ["22P02", "23505", "40001", "42P01", "42501", "57014", "P0001", "53100", "26000"]) {
      expect(leavesConnectionUsable(failure(code, "")), code).toBe(true);
    }
    const lost = ["57P01", "57P03", "08006", "08P01", "25006", "25P03", "53300", "XX000", "EPIPE", "EPERM"];
    for (const code of [...lost, "ECONNRESET", "58030"]) {
      expect(leavesConnectionUsable(failure(code, "")), code).toBe(false);
    }
    expect(leavesConnectionUsable(failure("0A000", "cached plan must not change result type"))).toBe(false);
    expect(leavesConnectionUsable(new Error("Query read timeout"))).toBe(false);
    expect(leavesConnectionUsable(undefined)).toBe(false);
  });
});
