/**
 * A state for a worker that is not the worker's to dispose of: it seems not to be disposable. What it inherits
 * runs on the state itself, since private fields cannot be reached through a proxy.
 */
export function lent(state: unknown): unknown {
  if (typeof state !== "object" || state === null) return state;
  if (!(Symbol.dispose in state || Symbol.asyncDispose in state)) return state;
  return new Proxy(state, {
    get(target, key) {
      if (key === Symbol.dispose || key === Symbol.asyncDispose) return undefined;
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" && !Object.hasOwn(target, key)
        ? (value.bind(target) as unknown)
        : value;
    },
  });
}
