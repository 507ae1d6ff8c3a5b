// How tests wait.

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/**
 * Waits until it is true. Long, as the machine may be busy, and a client that did not get its
 * preferred transport in time looks for it again after 30 s and 60 s (PROTOCOL.md §15.4).
 */
export async function until(what, condition) {
  for (const end = Date.now() + 180_000; !condition(); await sleep(5)) if (Date.now() > end) throw new Error(`not in time: ${what}`);
}
