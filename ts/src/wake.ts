/** Calls when a page, or the device under it, comes back (PROTOCOL.md §15.6). */
export function onWake(woken: (online: boolean) => void, signal: AbortSignal): void {
  for (const type of ["online", "pageshow", "visibilitychange"]) {
    const online = type === "online";
    globalThis.addEventListener?.(type, () => (online || globalThis.document?.visibilityState !== "hidden") && woken(online), { signal });
  }
}
