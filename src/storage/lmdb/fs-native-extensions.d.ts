/** The package has no types of its own; these are the calls used here. */
declare module "fs-native-extensions" {
  const locks: {
    /** `false` when another open file description, of any process, has the file locked. */
    tryLock(fd: number): boolean;
    unlock(fd: number): void;
  };
  export default locks;
}
