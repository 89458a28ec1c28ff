export { type CreateStorage, storageSuite, type StorageSuiteOptions, type SuiteFramework } from "./suite.ts";
