import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { lineLogger, silentLogger } from "./logger.ts";

describe("lineLogger", () => {
  beforeEach(() => vi.useFakeTimers({ now: 1_000_000, toFake: ["Date"] }));
  afterEach(() => vi.useRealTimers());

  it("writes warnings and errors as lines, and never details, which may hold anything", () => {
    const lines: string[] = [];
    const logger = lineLogger((line) => lines.push(line));
    logger.debug("d");
    logger.info("i");
    logger.warn("careful", { secret: "hunter2" });
    logger.error("broken");
    expect(lines).toEqual(["jobwright warn careful\n", "jobwright error broken\n"]);
  });

  it("says which job a handler's own words are about", () => {
    const lines: string[] = [];
    const logger = lineLogger((line) => void lines.push(line));
    logger.warn("the file is empty", { job: "7", name: "import", secret: "s3cret" });
    logger.warn('job 7 "import" attempt 1 failed', { job: "7", name: "import" });
    expect(lines).toEqual([
      'jobwright warn job 7 "import": the file is empty\n',
      'jobwright warn job 7 "import" attempt 1 failed\n',
    ]);
  });

  it("lets no text forge a line or steer a terminal", () => {
    const lines: string[] = [];
    lineLogger((line) => lines.push(line)).warn("a\nb\r\u001b[2Jc\u2028d\u0000");
    expect(lines).toEqual(["jobwright warn a b [2Jc d \n"]);
  });

  it("writes ten lines a second, and then how many it left out", () => {
    const lines: string[] = [];
    const logger = lineLogger((line) => lines.push(line));
    for (let n = 0; n < 1_000; n += 1) logger.error(`failure ${n}`);
    expect(lines).toHaveLength(10);
    vi.setSystemTime(1_001_000);
    logger.error("next");
    expect(lines.slice(10)).toEqual(["jobwright warn (990 more lines left out)\n", "jobwright error next\n"]);
  });
});

describe("silentLogger", () => {
  it("says nothing", () => {
    const { debug, info, warn, error } = silentLogger;
    expect([debug, info, warn, error].map((log) => log("x"))).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });
});
