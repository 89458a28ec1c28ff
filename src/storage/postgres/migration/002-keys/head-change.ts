/** What more a change of a head says: history and progress, and all that a job takes over when it is replaced. */
export function headChange(s: string): string {
  const attributes = [
    "sets_events boolean",
    "events text",
    "sets_progress boolean",
    "progress text",
    "sets_spec boolean",
    "payload text",
    "policy bigint",
    "policy_text text",
    "keep_ms double precision",
    "tags text",
    "extra text",
    "limit_id uuid",
    "concurrency smallint",
  ];
  return `
alter type ${s}.head_change
  ${attributes.map((attribute) => `add attribute ${attribute}`).join(",\n  ")};
`;
}
