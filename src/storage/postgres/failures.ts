import {
  JobwrightError,
  StorageClosedError,
  StorageCorruptedError,
  StorageFullError,
  StorageRefusedError,
  StorageUnavailableError,
} from "../../errors.ts";

/** Hides what no message may hold. */
export type Scrub = (text: string) => string;

/** Hide these texts, and whatever stands before the host of any URL. */
export function scrubber(secrets: readonly string[]): Scrub {
  return (text) => {
    let clean = text;
    for (const secret of secrets) clean = clean.replaceAll(secret, "…");
    return clean.replace(/\b([a-z][a-z0-9+.-]*:\/\/)\S*@/gi, "$1…@");
  };
}

/**
 * A failure of `pg`, of the network or of the server as an error of ours, with the remedy in its message.
 * What is ours already stays as it is.
 *
 * @param label names the database; it holds no secret
 */
export function typedError(error: unknown, label: string, scrub: Scrub): JobwrightError {
  if (error instanceof JobwrightError) return error;
  const code = codeOf(error);
  const text = scrub(textOf(error));
  // Words decide only where the code says nothing: a server's message may quote anything.
  const isVague = !SQLSTATE.test(code) || VAGUE.test(code);
  const kind = KINDS.find(({ codes, texts }) => codes?.test(code) || (isVague && texts?.test(text))) ?? OTHER;
  // What a value of the wrong form was is shown to nobody: it may be somebody's payload.
  const shown = (/^2[23]/.test(code) ? text.replace(/: ".*/s, "") : text).slice(0, TEXT_LENGTH);
  return kind.make(label, code === "" ? shown : `${shown} (${code})`, cleanCause(error, shown, scrub));
}

/** Whether the server took back the whole transaction because of another one: repeating it helps. */
export function isConflict(error: unknown): boolean {
  return /^(?:40001|40P01|55P03)$/.test(codeOf(error));
}

/** Whether prepared statements do not stay where they were made: a pooler between us and the server. */
export function isUnprepared(error: unknown): boolean {
  const code = codeOf(error);
  if (code === "26000" || code === "42P05") return true;
  const text = textOf(error);
  return (
    /prepared statement .* (?:does not exist|already exists)/i.test(text) ||
    (code === "08P01" && /bind message|prepared statement|unnamed/i.test(text))
  );
}

/** Whether a migration has changed what a prepared statement answers: it has to be prepared anew. */
export function isStalePlan(error: unknown): boolean {
  if (codeOf(error) !== "0A000") return false;
  // The server says it in its own language.
  return (
    (error as { routine?: unknown }).routine === "RevalidateCachedQuery" || /cached plan/i.test(textOf(error))
  );
}

/** Whether the server takes no writes: after a failover the old primary is still there, and others are not it. */
export function isReadOnly(error: unknown): boolean {
  return codeOf(error) === "25006";
}

/**
 * Whether the connection is as good as before: the server has refused a statement and said so. After
 * anything else nobody knows what it is doing.
 */
export function leavesConnectionUsable(error: unknown): boolean {
  const code = codeOf(error);
  if (!SQLSTATE.test(code) || isStalePlan(error)) return false;
  return code === "57014" || !/^(?:08|28|57|58|F0|XX|25P03|25006|53300)/.test(code);
}

/** Not to be mistaken for a code of Node, as EPIPE is one. */
const SQLSTATE = /^(?:\d[0-9A-Z]|F0|HV|P0|XX)[0-9A-Z]{3}$/;

/** Codes under which poolers and servers say very different things. */
const VAGUE = /^(?:08P01|28000|58000|58030|XX000)$/;

interface Kind {
  /** Codes of the server (SQLSTATE) or of Node. */
  readonly codes?: RegExp;
  /** What `pg` and poolers say without a code. */
  readonly texts?: RegExp;
  readonly make: (label: string, text: string, cause: Error) => JobwrightError;
}

/** The first that fits. */
const KINDS: readonly Kind[] = [
  {
    texts: /Cannot use a pool after calling end/,
    make: (label) => new StorageClosedError(`The pool given for ${label}`),
  },
  {
    texts: /statement pooling mode/i,
    make: (label, text, cause) =>
      new StorageRefusedError(
        `${label} is behind a pooler that allows single statements only: ${text}. Set its pool_mode to ` +
          "transaction or session.",
        { cause },
      ),
  },
  {
    codes: /^(?:53100|53200|ENOSPC)$/,
    texts: /No space left on device/,
    make: (label, text, cause) =>
      new StorageFullError(
        `${label} has no room: ${text}. Free disk space or memory on the server, then repeat; ` +
          "nothing acknowledged is lost.",
        { cause },
      ),
  },
  {
    codes: /^XX00[12]$/,
    make: (label, text, cause) =>
      new StorageCorruptedError(`${label} is damaged: ${text}. Restore it from a backup.`, { cause }),
  },
  {
    codes: /^25006$/,
    make: (label, text, cause) =>
      new StorageUnavailableError(
        `${label} takes no writes: ${text}. It is a read-only standby, or default_transaction_read_only is on: ` +
          "connect to the primary.",
        { cause },
      ),
  },
  {
    codes: /^28P01$/,
    texts: /^SASL|SCRAM/,
    make: (label, text, cause) =>
      new StorageRefusedError(
        `${label} refused the password: ${text}. Check user and password of the URL (special characters are ` +
          "written with encodeURIComponent()) or of the pool.",
        { cause },
      ),
  },
  {
    codes: /^28...$/,
    texts: /no such user|auth(?:entication)? failed/i,
    make: (label, text, cause) =>
      new StorageRefusedError(
        `${label} refused the user: ${text}. Check the user, its right to log in, and the server's pg_hba.conf.`,
        { cause },
      ),
  },
  {
    codes: /^3D000$/,
    texts: /no such database/i,
    make: (label, text, cause) =>
      new StorageRefusedError(
        `${label} does not exist: ${text}. Create the database, or name one that is there.`,
        {
          cause,
        },
      ),
  },
  {
    codes: /^42501$/,
    make: (label, text, cause) =>
      new StorageRefusedError(
        `${label} may not be used by this user: ${text}. Grant it the schema and its tables, or migrate once ` +
          "with a user who may create them: jobwright migrate.",
        { cause },
      ),
  },
  {
    codes: /^(?:42P01|3F000|42883|42704|42703)$/,
    make: (label, text, cause) =>
      new StorageRefusedError(
        `${label} has no schema of jobwright, or an old one: ${text}. Migrate it: jobwright migrate.`,
        { cause },
      ),
  },
  {
    codes:
      /^(?:SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT|CERT_\w+|UNABLE_TO_\w+|ERR_TLS_\w+|ERR_SSL_\w+|EPROTO)$/,
    texts: /SSL connection|sslmode|sslnegotiation|certificate/i,
    make: (label, text, cause) =>
      new StorageRefusedError(
        `${label} cannot be reached with these TLS settings: ${text}. Set sslmode in the URL (disable, ` +
          "no-verify, verify-full with sslrootcert), or `ssl` of the pool.",
        { cause },
      ),
  },
  {
    codes: /^(?:EACCES|EPERM)$/,
    texts: /unsupported startup parameter/i,
    make: (label, text, cause) =>
      new StorageRefusedError(
        `${label} cannot be connected to: ${text}. Check the address and the rights of the socket.`,
        { cause },
      ),
  },
  {
    codes: /^53300$/,
    make: (label, text, cause) =>
      new StorageUnavailableError(
        `${label} has no connection left: ${text}. Raise max_connections of the server, lower maxConnections ` +
          "here, or repeat later.",
        { cause },
      ),
  },
  {
    texts: /timeout exceeded when trying to connect/,
    make: (label, text, cause) =>
      new StorageUnavailableError(
        `${label} gave no connection in time: ${text}. Raise max of the pool, or its connectionTimeoutMillis.`,
        { cause },
      ),
  },
  {
    codes: /^57014$/,
    texts: /Query read timeout/,
    make: (label, text, cause) =>
      new StorageUnavailableError(
        `${label} was stopped in a statement: ${text}. Raise statement_timeout (query_timeout of the pool) for ` +
          "this user, or repeat.",
        { cause },
      ),
  },
  {
    codes: /^(?:40001|40P01|55P03)$/,
    make: (label, text, cause) =>
      new StorageUnavailableError(`${label} is busy with conflicting writes: ${text}. Repeat later.`, {
        cause,
      }),
  },
  {
    codes:
      /^(?:08...|57P..|58...|25P03|53...|E(?:CONN\w+|PIPE|TIMEDOUT|HOST\w+|NET\w+|NOTFOUND|AI_AGAIN|ADDRNOTAVAIL|MFILE|NFILE|NOENT))$/,
    texts:
      /^Connection terminated|^timeout expired|not queryable|server closed the connection|server login has been failing/i,
    make: (label, text, cause) =>
      new StorageUnavailableError(
        `${label} cannot be reached: ${text}. Check that the server is up; repeat.`,
        {
          cause,
        },
      ),
  },
];

const OTHER: Kind = {
  make: (label, text, cause) => new StorageRefusedError(`${label} refused a statement: ${text}.`, { cause }),
};

/** What a server says can be long: this is what people read. */
const TEXT_LENGTH = 500;

/** The code of the server or of Node; of several attempts to connect, of the first that has one. */
function codeOf(error: unknown): string {
  const { code, errors } = (error ?? {}) as { code?: unknown; errors?: unknown };
  if (typeof code === "string") return code;
  return Array.isArray(errors) ? (errors.map(codeOf).find((one) => one !== "") ?? "") : "";
}

/** Node joins the attempts at several addresses of a host in an error that says nothing itself. */
function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { message } = error;
  const { errors } = error as { errors?: unknown };
  if (message !== "" || !Array.isArray(errors)) return message;
  return errors.slice(0, 5).map(textOf).join("; ");
}

/**
 * What there is to know of the first error. Not the error itself: `pg` hangs clients on it, with their
 * passwords, and the server quotes rows in its details, with their payloads.
 */
function cleanCause(error: unknown, message: string, scrub: Scrub): Error {
  const clean = new Error(message);
  if (!(error instanceof Error)) return clean;
  const stack = error.stack ?? "";
  const frames = stack.search(/^ {4}at /m);
  clean.stack = `${error.name}: ${message}${frames < 0 ? "" : `\n${scrub(stack.slice(frames))}`}`;
  const given = error as Error & Partial<Record<(typeof KEPT)[number], unknown>>;
  const kept = KEPT.flatMap((key) => (typeof given[key] === "string" ? [[key, given[key]] as const] : []));
  return Object.assign(clean, { code: codeOf(error) }, Object.fromEntries(kept));
}

/** None of them ever holds a value of a row. */
const KEPT = ["code", "severity", "syscall", "schema", "table", "column", "constraint", "routine"] as const;
