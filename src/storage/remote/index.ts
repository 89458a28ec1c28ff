export type { RemoteTls } from "./dial-ws.ts";
export { RemoteStorage, type RemoteStorageOptions } from "./remote-storage.ts";
