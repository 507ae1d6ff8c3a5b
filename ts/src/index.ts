export * from "./api.ts";
export * from "./errors.ts";
export * from "./subscription.ts";
export * from "./client.ts";
