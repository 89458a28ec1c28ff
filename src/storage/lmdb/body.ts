/** JSON text without line breaks, then a line break, then the body as it is: it is neither escaped nor parsed again. */
export function withBody(header: string, body: string | undefined): string {
  if (body === undefined) return header;
  // Text that UTF-8 cannot carry goes in escapes, and a tab says so.
  return body.isWellFormed() ? `${header}\n${body}` : `${header}\t${JSON.stringify(body)}`;
}

export function splitBody(text: string): { readonly header: unknown; readonly body: string | undefined } {
  const end = text.indexOf("\n");
  const tab = text.indexOf("\t");
  // Neither stands within the header: JSON escapes both.
  if (end !== -1 && (tab === -1 || end < tab)) {
    return { header: JSON.parse(text.slice(0, end)), body: text.slice(end + 1) };
  }
  if (tab !== -1)
    return { header: JSON.parse(text.slice(0, tab)), body: JSON.parse(text.slice(tab + 1)) as string };
  return { header: JSON.parse(text), body: undefined };
}
