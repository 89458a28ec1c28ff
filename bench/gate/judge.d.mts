export declare const SLOWER_THAN: number;
export declare function judge(
  rates: Readonly<Record<string, { readonly before: readonly number[]; readonly now: readonly number[] }>>,
): {
  readonly measure: string;
  readonly before: number;
  readonly now: number;
  readonly ratio: number;
  readonly isSlower: boolean;
}[];
