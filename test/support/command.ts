import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** What vitest.config.ts has taken away from all processes but npm's. */
const certificates = process.env["JOBWRIGHT_TEST_CERTIFICATES"];

/**
 * Run a program to its end and answer what it printed.
 *
 * @throws with everything it printed, when its exit code is not 0
 */
export async function command(program: string, args: readonly string[], cwd: string): Promise<string> {
  const options = {
    cwd,
    maxBuffer: 16 * 1024 * 1024,
    shell: process.platform === "win32" && program === "npm",
    ...(program === "npm" && certificates
      ? { env: { ...process.env, NODE_EXTRA_CA_CERTS: certificates } }
      : {}),
  };
  try {
    return (await promisify(execFile)(program, args, options)).stdout;
  } catch (error) {
    const { code, stdout, stderr } = error as { code: unknown; stdout: string; stderr: string };
    throw new Error(`${program} ${args.join(" ")} ended with ${String(code)}:\n${stdout}${stderr}`, {
      cause: error,
    });
  }
}
