/** A binary heap, as for merging sorted sources: the least on top, put right again after its key has grown. */
export class Heap<T> {
  readonly #items: T[];
  readonly #before: (a: T, b: T) => boolean;

  /** @param items taken over by the heap */
  constructor(items: T[], before: (a: T, b: T) => boolean) {
    this.#items = items;
    this.#before = before;
    for (let index = (items.length >>> 1) - 1; index >= 0; index--) this.#sink(index);
  }

  get size(): number {
    return this.#items.length;
  }

  top(): T | undefined {
    return this.#items[0];
  }

  /** The top's key has grown. */
  settleTop(): void {
    if (this.#items.length > 1) this.#sink(0);
  }

  push(item: T): void {
    const items = this.#items;
    let index = items.push(item) - 1;
    for (
      let parent = (index - 1) >> 1;
      index > 0 && this.#before(item, items[parent] as T);
      parent = (index - 1) >> 1
    ) {
      items[index] = items[parent] as T;
      index = parent;
    }
    items[index] = item;
  }

  dropTop(): void {
    const last = this.#items.pop();
    if (last === undefined || this.#items.length === 0) return;
    this.#items[0] = last;
    this.#sink(0);
  }

  #sink(from: number): void {
    const items = this.#items;
    const item = items[from] as T;
    let index = from;
    for (let child = 2 * index + 1; child < items.length; child = 2 * index + 1) {
      if (child + 1 < items.length && this.#before(items[child + 1] as T, items[child] as T)) child++;
      if (!this.#before(items[child] as T, item)) break;
      items[index] = items[child] as T;
      index = child;
    }
    items[index] = item;
  }
}
