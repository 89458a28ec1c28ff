// @ts-expect-error -- the package has no types of its own; what is used of it stands below
import native from "fs-native-extensions";

/** Kernel locks on open files: they go with the process that holds them, however it ends. */
export const locks = native as {
  /** `false` when another open file description, of any process, has the file locked. */
  tryLock(fd: number): boolean;
  unlock(fd: number): void;
};
