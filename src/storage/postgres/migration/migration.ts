/** One numbered step of the schema. Once released it never changes: what follows is a further step. */
export interface Migration {
  /** 1 for the first, and one more for each that follows. */
  readonly version: number;
  readonly name: string;
  /**
   * The statements of the step, for a schema that exists and holds the table `migration`. They run in one
   * transaction: nothing that refuses to be in one (`create index concurrently`) can be among them.
   *
   * @param schema the quoted identifier of the schema, to be put before every name
   */
  readonly sql: (schema: string) => string;
}
