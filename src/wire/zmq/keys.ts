import { createPrivateKey, createPublicKey, generateKeyPairSync } from "node:crypto";
import { InvalidOptionError } from "../../errors.ts";

/** Keys for CURVE as ZeroMQ writes them: 40 characters of Z85 each. */
export interface CurveKeyPair {
  /** To be known by everybody: servers list their clients' ones, clients name their server's. */
  readonly publicKey: string;
  /** To be known by one process. */
  readonly secretKey: string;
}

/** Make keys for a server or a client. Needs no package. */
export function curveKeyPair(): CurveKeyPair {
  const { privateKey } = generateKeyPairSync("x25519");
  const secret = privateKey.export({ format: "der", type: "pkcs8" }).subarray(-KEY_BYTES);
  const secretKey = z85Of(secret);
  return { publicKey: publicKeyOf(secretKey), secretKey };
}

/** The public half. Whoever has the secret one need not keep both. */
export function publicKeyOf(secretKey: string): string {
  const key = createPrivateKey({
    key: Buffer.concat([PKCS8, bytesOf(secretKey)]),
    format: "der",
    type: "pkcs8",
  });
  return z85Of(createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-KEY_BYTES));
}

/**
 * The 32 bytes of a key.
 *
 * @param option names the option it stands in, for the error, which never shows the key
 * @throws InvalidOptionError
 */
export function keyBytes(option: string, key: unknown): Buffer {
  const bytes = typeof key === "string" && key.length === KEY_LENGTH ? bytesOf(key) : undefined;
  if (bytes?.length === KEY_BYTES) return bytes;
  throw new InvalidOptionError(
    option,
    typeof key === "string" ? `a text of ${key.length} characters` : typeof key,
    "Use a key of 40 characters as curveKeyPair() makes it; in a URL, write it with encodeURIComponent().",
  );
}

const KEY_BYTES = 32;
const KEY_LENGTH = 40;
/** What stands before the 32 bytes of an X25519 key in PKCS #8. */
const PKCS8 = Buffer.from("302e020100300506032b656e04220420", "hex");
const DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/** Z85: four bytes as five digits to the base of 85. */
function z85Of(bytes: Uint8Array): string {
  let text = "";
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at < bytes.length; at += 4) {
    let value = view.getUint32(at);
    let digits = "";
    for (let digit = 0; digit < 5; digit += 1) {
      digits = DIGITS.charAt(value % 85) + digits;
      value = Math.floor(value / 85);
    }
    text += digits;
  }
  return text;
}

/** Empty for a text that is no Z85. */
function bytesOf(text: string): Buffer {
  const bytes = Buffer.alloc((text.length / 5) * 4);
  for (let at = 0; at < text.length; at += 5) {
    let value = 0;
    for (const character of text.slice(at, at + 5)) {
      const digit = DIGITS.indexOf(character);
      if (digit < 0) return Buffer.alloc(0);
      value = value * 85 + digit;
    }
    if (value > 0xffff_ffff) return Buffer.alloc(0);
    bytes.writeUInt32BE(value, (at / 5) * 4);
  }
  return bytes;
}
