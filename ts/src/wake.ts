/** Calls when a page, or the device under it, comes back (PROTOCOL.md §15.6). */
export function onWake(woken: (online: boolean) => void, signal: AbortSignal): void {
  const { document } = globalThis as { document?: Document };
  const shown = () => document?.visibilityState !== "hidden" && woken(false);
  globalThis.addEventListener?.("online", () => woken(true), { signal });
  globalThis.addEventListener?.("pageshow", shown, { signal });
  document?.addEventListener("visibilitychange", shown, { signal });
}
