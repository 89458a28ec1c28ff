import { describe, expect, it } from "vitest";
import { readOwn } from "./support/source-files.ts";

// Goal: `npm ci` works from a fresh clone on every platform and with any registry.
// npm writes the lockfile from what its registry and this machine have; where a registry lacks binaries
// of other platforms, npm leaves out their entries, and then refuses its own file everywhere.

interface Entry {
  readonly version?: string;
  readonly optional?: boolean;
  readonly integrity?: string;
  readonly dependencies?: Record<string, string>;
  readonly optionalDependencies?: Record<string, string>;
}

const { packages } = JSON.parse(readOwn("package-lock.json")) as { packages: Record<string, Entry> };

describe("the lockfile", () => {
  it("has an entry for every dependency, those of other platforms included", () => {
    const missing = Object.entries(packages).flatMap(([path, { dependencies, optionalDependencies }]) =>
      Object.keys({ ...dependencies, ...optionalDependencies })
        .filter((name) => !isLocked(path, name))
        .map((name) => `${path} needs ${name}`),
    );
    expect(missing).toEqual([]);
  });

  it("has a hash for every package that is not a binary of one platform", () => {
    const unchecked = Object.entries(packages).filter(
      ([path, { integrity, optional }]) => path !== "" && integrity === undefined && optional !== true,
    );
    expect(unchecked.map(([path]) => path)).toEqual([]);
  });

  it("names no registry", () => {
    expect(readOwn("package-lock.json")).not.toContain('"resolved"');
  });
});

/** Whether a package finds another in its own folder of packages or in one further up. */
function isLocked(path: string, name: string): boolean {
  if (`${path === "" ? "" : `${path}/`}node_modules/${name}` in packages) return true;
  if (path === "") return false;
  const cut = path.lastIndexOf("node_modules/");
  return isLocked(path.slice(0, Math.max(0, cut - 1)), name);
}
