/** Milliseconds, by a clock that nobody sets. */
export const now = (): number => performance.now();

/** How long a page may be kept from all else, in ms, and by how many events: iterations come after them. */
const turn = 8;
const mostInTurn = 256;

let events = 0;
let due = 0;

/** Asked before each event that may be one of many: whether it has to wait for a task of its own. */
export const tired = (): boolean => ++events >= mostInTurn || now() > due;

/** By a message: browsers hold back the timers of a page in the background, and a microtask is the same task. */
export async function rest(): Promise<void> {
  const { port1, port2 } = new MessageChannel();
  await new Promise((done) => ((port1.onmessage = done), port2.postMessage(0)));
  port1.close();
  events = 0;
  due = now() + turn;
}

export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const wake = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", wake); // it may live for long
      done();
    };
    const timer = setTimeout(wake, ms);
    signal?.addEventListener("abort", wake);
  });
}
