/** Calls when a page, or the device under it, comes back (PROTOCOL.md §15.6). Returns how to stop it. */
export function onWake(woken: (online: boolean) => void): () => void {
  const here = globalThis as Partial<Pick<Window, "addEventListener" | "removeEventListener" | "document">>;
  const online = () => woken(true);
  const shown = () => here.document?.visibilityState !== "hidden" && woken(false);
  here.addEventListener?.("online", online);
  here.addEventListener?.("pageshow", shown);
  here.document?.addEventListener("visibilitychange", shown);
  return () => {
    here.removeEventListener?.("online", online);
    here.removeEventListener?.("pageshow", shown);
    here.document?.removeEventListener("visibilitychange", shown);
  };
}
