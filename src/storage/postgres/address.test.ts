import pg from "pg";
import fc from "fast-check";
import { afterEach, describe, expect, test, vi } from "vitest";
import { InvalidOptionError } from "../../errors.ts";
import { checkUrl, postgresLabel, secretsOf } from "./address.ts";

afterEach(() => vi.unstubAllEnvs());

describe("label", () => {
  test.each([
    ["postgres://bob:secret@db.example:5433/app", "postgres://db.example:5433/app#jobs"],
    ["postgresql://db.example/app", "postgres://db.example:5432/app#jobs"],
    ["postgres://bob@[::1]:5433/app", "postgres://[::1]:5433/app#jobs"],
    ["postgres://bob:secret@/app?host=/run/pg", "postgres://%2Frun%2Fpg:5432/app#jobs"],
    ["postgres://bob@db.example", "postgres://db.example:5432/bob#jobs"],
    ["postgres://db.example/a%20b?sslmode=require", "postgres://db.example:5432/a b#jobs"],
  ])("%s", (url, label) => {
    expect(postgresLabel({ url }, "jobs")).toBe(label);
  });

  test("of a pool, however its owner has said where it leads", () => {
    vi.stubEnv("PGHOST", "from-environment");
    vi.stubEnv("PGDATABASE", "");
    const given = { host: "db.example", port: 5433, database: "app", user: "bob", password: "secret" };
    const url = "postgres://bob:secret@db.example:5433/app";
    for (const options of [given, { connectionString: url }]) {
      expect(postgresLabel({ pool: new pg.Pool(options) }, "jobs")).toBe(
        "postgres://db.example:5433/app#jobs",
      );
    }
    expect(postgresLabel({ pool: new pg.Pool({ user: "bob" }) }, "jobs")).toBe(
      "postgres://from-environment:5432/bob#jobs",
    );
  });
});

test("a label can be made of anything, as options are checked later", () => {
  for (const odd of [7, null, {}, "", "%", "postgres://%"]) {
    expect(postgresLabel({ url: odd as string }, "jobs")).toContain("#jobs");
    expect(postgresLabel({ pool: odd as never }, "jobs")).toContain("#jobs");
  }
});

describe("a URL is refused without a word of what it holds", () => {
  test.each([
    "",
    "mysql://bob:hunter22@host/app",
    "postgres:bob:hunter22",
    "postgres://bob:hunter/22@host/app",
    "postgres://bob:1/hunter22@host/app",
    "postgres://bob:1#hunter22@host/app",
    "postgres://bob:1?hunter22@host/app",
    "postgres://bob:1?a=hunter22@host/app",
    "postgres://bob:hunter22@host:99999/app",
    "postgres://bob:hunter22@host:0/app",
    "postgres://bob:hunter22@one:5432,two:5432/app",
    "postgres://bob:hunter22@host/app#jobs",
  ])("%s", (url) => {
    const refused = (): void => checkUrl(url);
    expect(refused).toThrow(InvalidOptionError);
    expect(refused).not.toThrow(/hunter|22|bob/);
  });

  test("and so is what is no text", () => {
    for (const value of [undefined, null, 7, {}, []])
      expect(() => checkUrl(value)).toThrow(InvalidOptionError);
  });

  test("any password goes once it is encoded", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", minLength: 1 }), (password) => {
        fc.pre(password.isWellFormed());
        const url = `postgres://bob:${encodeURIComponent(password)}@db.example:5433/app?sslmode=disable`;
        checkUrl(url);
        expect(postgresLabel({ url }, "jobs")).toBe("postgres://db.example:5433/app#jobs");
        expect(secretsOf({ url }).includes(password)).toBe(password.length >= 4);
      }),
    );
  });
});

describe("secrets", () => {
  test("are found wherever a password can stand", () => {
    vi.stubEnv("PGPASSWORD", "from-environment");
    const url = "postgres://bob:p%40ssword@db.example/app?password=another";
    expect(secretsOf({ url })).toEqual(
      expect.arrayContaining([url, "p@ssword", "p%40ssword", "another", "from-environment"]),
    );
    expect(secretsOf({ pool: new pg.Pool({ password: "in-options" }) })).toContain("in-options");
    expect(secretsOf({ pool: new pg.Pool({ connectionString: url }) })).toContain("p@ssword");
  });

  test("that are contained in others come after them, or they would leave a rest behind", () => {
    const url = "postgres://bob:secret@db.example/app?password=secret-and-more";
    const found = secretsOf({ url });
    expect(found).toEqual([...found].sort((a, b) => b.length - a.length));
  });
});
