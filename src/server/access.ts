import { createHash, timingSafeEqual } from "node:crypto";
import { AccessDeniedError, InvalidOptionError } from "../errors.ts";
import { SCOPES, type Scope } from "../wire/methods.ts";

/** A secret and what whoever knows it may do. */
export interface AccessToken {
  /** At least 16 characters. `openssl rand -hex 32` makes a good one. */
  readonly token: string;
  /** @default ["admin"], everything */
  readonly scopes?: readonly Scope[];
}

/** What a connection shows of itself. */
export interface Credentials {
  readonly token?: string | undefined;
  /** The transport has proved who it is, and that decides: a CURVE key on the list. */
  readonly proven?: boolean;
  /**
   * It has a TLS certificate, as all clients of its server must. Where there are tokens as well, it takes one of them to say what
   * may be done: else whoever has a token of few scopes would leave it out.
   */
  readonly certified?: boolean;
}

const TOKEN_LENGTH = { min: 16, max: 1_000 };
const ALL: readonly Scope[] = ["admin"];

/** Decides who may do what. */
export class Access {
  readonly #tokens: readonly { readonly digest: Buffer; readonly scopes: readonly Scope[] }[];
  /** Whether nobody is asked for anything. */
  readonly isOpen: boolean;

  /**
   * @param proves whether the transport lets in only whom it knows
   * @throws InvalidOptionError
   */
  constructor(tokens: readonly (string | AccessToken)[], proves: boolean) {
    this.#tokens = tokens.map((entry, index) => {
      const { token, scopes = ALL } = typeof entry === "string" ? { token: entry } : (entry ?? {});
      if (typeof token !== "string" || token.length < TOKEN_LENGTH.min || token.length > TOKEN_LENGTH.max) {
        throw new InvalidOptionError(
          `tokens[${index}]`,
          // Never the token itself.
          typeof token === "string" ? `a text of ${token.length} characters` : typeof token,
          `Use ${TOKEN_LENGTH.min} to ${TOKEN_LENGTH.max} characters, made by \`openssl rand -hex 32\` for example.`,
        );
      }
      // oxlint-disable-next-line no-control-regex -- a header carries no others
      if (!/^[\u0021-\u007e]+$/.test(token)) {
        throw new InvalidOptionError(
          `tokens[${index}]`,
          "a text",
          "Use letters, digits and signs, without spaces.",
        );
      }
      if (!Array.isArray(scopes) || scopes.length === 0 || !scopes.every((scope) => SCOPES.includes(scope))) {
        throw new InvalidOptionError(`tokens[${index}].scopes`, scopes, `Use some of ${SCOPES.join(", ")}.`);
      }
      return { digest: digestOf(token), scopes };
    });
    this.isOpen = tokens.length === 0 && !proves;
  }

  /** @throws AccessDeniedError */
  scopesOf({ token, proven = false, certified = false }: Credentials): readonly Scope[] {
    if (token !== undefined && this.#tokens.length > 0) {
      const digest = digestOf(token);
      let scopes: readonly Scope[] | undefined;
      // All are compared, however early one fits: the time says nothing about them.
      for (const known of this.#tokens) if (timingSafeEqual(known.digest, digest)) scopes ??= known.scopes;
      if (scopes !== undefined) return scopes;
      throw new AccessDeniedError(
        "The job server does not know this token. Check that it is the one it was started with.",
      );
    }
    if (proven || this.isOpen || (certified && this.#tokens.length === 0)) return ALL;
    throw new AccessDeniedError(
      "The job server wants a token. Put it into the URL (ws://:TOKEN@host:port) or the option `token`.",
    );
  }
}

/** Of one length, whatever the token's. */
function digestOf(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
