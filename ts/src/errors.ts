/** A refusal by the server (RFC 9457, PROTOCOL.md §9), or a fault on the way to it. */
export class DuplexError extends Error {
  /** What happened: the last word of a problem's type, as `topic-ended`, or `unreachable`, `cut`, `silent`, `unknown`, ... */
  readonly code: string;
  /** The HTTP status; 0 if there was no answer. */
  readonly status: number;
  /** Whether the same may succeed later (PROTOCOL.md §15.6). */
  readonly retryable: boolean;
  /** The milliseconds after which the server wants to be asked again. */
  readonly retryAfter: number;
  /** Whether a Duplex server says so, and nobody between. */
  readonly problem: boolean;

  constructor(code: string, message: string, status = 0, retryAfter = 0, problem = false) {
    super(message);
    this.name = "DuplexError";
    this.code = code;
    this.status = status;
    this.retryAfter = retryAfter;
    this.problem = problem;
    this.retryable = status
      ? status >= 500 || [408, 425, 429].includes(status) || code === "key-in-progress"
      : !["closed", "unknown", "outbox-full"].includes(code);
  }
}

/** A topic that is asked for alone has ended, and all of it was read. */
export const ended = (): DuplexError => new DuplexError("end", "the topic has ended", 204);

/** What an answer says that is none of the good ones. */
export async function refusal(response: Response): Promise<DuplexError> {
  const { status, statusText, headers } = response;
  const problem = (await response.json().catch(() => {})) ?? {}; // else it is somebody else's
  return problemOf({ title: statusText, ...problem, status }, milliseconds(headers.get("retry-after")!));
}

/** A problem, of an answer or of an op. */
export function problemOf({ type, title, detail, status }: Record<string, any>, retryAfter?: number): DuplexError {
  const code = String(type).split("urn:duplex:problem:")[1];
  return new DuplexError(code ?? "http", `${status} ${title}${detail ? `: ${detail}` : ""}`.trim(), status, retryAfter, !!code);
}

/** Of seconds or a date (RFC 9110 §10.2.3). */
const milliseconds = (value: string): number => Math.max(0, +value * 1000 || Date.parse(value) - Date.now() || 0);
