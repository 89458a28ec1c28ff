/**
 * The part of Standard Schema v1 that jobwright uses, copied so that no validator is a dependency.
 * Source: https://standardschema.dev (MIT). zod, valibot, arktype and others implement it.
 */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}

export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

export interface SchemaIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/** A payload type without a check at run time; what JSON cannot carry is refused all the same. */
export function json<T>(): StandardSchema<T, T> {
  return {
    "~standard": {
      version: 1,
      vendor: "jobwright",
      validate: (value) => ({ value: value as T }),
    },
  };
}
