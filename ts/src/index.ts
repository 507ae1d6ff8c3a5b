export * from "./api.ts";
export * from "./errors.ts";
export * from "./subscription.ts";
export * from "./client.ts";
export * from "./checked.ts";
export * from "./idb.ts";
export * from "./duplex.ts";
