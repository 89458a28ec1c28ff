/** Part of a payload: any of its properties, at any depth. Lists are given whole, their items in part. */
export type PartialPayload<T> = T extends string | number | boolean | null | undefined
  ? T
  : T extends readonly unknown[]
    ? { readonly [K in keyof T]: PartialPayload<T[K]> }
    : T extends object
      ? { readonly [K in keyof T]?: PartialPayload<T[K]> | undefined }
      : T;

/**
 * Whether a JSON value has all that is expected of it. `undefined` expects that a property is not there;
 * matchers of a test framework, such as `expect.any(Number)`, are asked.
 */
export function matches(actual: unknown, expected: unknown): boolean {
  if (isMatcher(expected)) return expected.asymmetricMatch(actual);
  if (Array.isArray(expected)) {
    if (!Array.isArray(actual) || actual.length !== expected.length) return false;
    return expected.every((item, index) => matches(actual[index], item));
  }
  if (typeof expected !== "object" || expected === null) {
    // JSON knows no negative zero.
    return actual === expected;
  }
  if (typeof actual !== "object" || actual === null || Array.isArray(actual)) return false;
  return Object.entries(expected).every(([key, value]) =>
    matches(Object.hasOwn(actual, key) ? (actual as Record<string, unknown>)[key] : undefined, value),
  );
}

function isMatcher(value: unknown): value is { asymmetricMatch(actual: unknown): boolean } {
  return (
    typeof value === "object" &&
    value !== null &&
    typeof (value as { asymmetricMatch?: unknown }).asymmetricMatch === "function"
  );
}
