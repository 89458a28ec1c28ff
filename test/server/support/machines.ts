import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);

/** A network of its own, as another machine has it: a name space of Linux, joined to this one by a cable. */
export interface Machine {
  readonly name: string;
  /** This machine's address as that one sees it. */
  readonly host: string;
}

/** Other machines, for as long as they are needed; `undefined` where this user or platform may not have them. */
export async function otherMachines(
  count: number,
): Promise<({ readonly machines: readonly Machine[] } & AsyncDisposable) | undefined> {
  const machines: Machine[] = [];
  const made: string[] = [];
  const dispose = async (): Promise<void> => {
    // The cable goes with its end.
    for (const name of made.splice(0)) await run("ip", ["netns", "delete", name]);
  };
  try {
    for (let index = 0; index < count; index += 1) {
      const name = `jw${process.pid}-${index}`;
      // A net of four addresses for each, in the range for tests of networks.
      const net = `198.18.${process.pid % 256}.`;
      const [here, there] = [4 * index + 1, 4 * index + 2];
      await run("ip", ["netns", "add", name]);
      made.push(name);
      await run("ip", ["link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name]);
      await run("ip", ["address", "add", `${net}${here}/30`, "dev", name]);
      await run("ip", ["link", "set", name, "up"]);
      await run("ip", ["-n", name, "address", "add", `${net}${there}/30`, "dev", "eth0"]);
      await run("ip", ["-n", name, "link", "set", "eth0", "up"]);
      machines.push({ name, host: `${net}${here}` });
    }
  } catch {
    await dispose();
    return undefined;
  }
  return { machines, [Symbol.asyncDispose]: dispose };
}
