/** A refusal by the server (RFC 9457, PROTOCOL.md §9), or a fault of the network. */
export class DuplexError extends Error {
  /** The HTTP status; 0 if there was no answer. */
  readonly status: number;
  /** The last word of the problem's type, as `topic-ended`, or of what went wrong here, as `timeout`. */
  readonly code: string;
  /** Whether the same may succeed later. */
  readonly retryable: boolean;
  /** The milliseconds after which the server wants to be asked again. */
  readonly retryAfter: number;

  constructor(code: string, message: string, status = 0, retryAfter = 0) {
    super(message);
    this.name = "DuplexError";
    this.status = status;
    this.code = code;
    this.retryable = !status || status === 408 || status === 425 || status === 429 || status >= 500;
    this.retryAfter = retryAfter;
  }
}
