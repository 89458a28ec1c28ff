// @ts-check

/** Something the user can read and act on, told in one line. */
export class Refusal extends Error {
  /**
   * @param {string} message
   * @param {number} exitCode 2: nothing was done
   */
  constructor(message, exitCode = 2) {
    super(message);
    this.exitCode = exitCode;
  }
}
