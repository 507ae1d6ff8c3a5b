/**
 * How much of the log was seen: up to which SEQ of each EPOCH (PROTOCOL.md §4.1). By that is known what
 * comes again, by whatever way.
 */
export class Seen extends Map<string, number> {
  /** How far it is beyond a cursor: below 0 if it is not there, NaN if that cannot be told. */
  beyond(cursor: string): number {
    const [epoch, seq] = cursor.split("-") as [string, string];
    return this.get(epoch)! - +seq;
  }

  /** Moves it to a cursor that is none of `earliest` and `now`, and tells whether that was news. */
  add(cursor: string): boolean {
    const [epoch, seq] = cursor.split("-") as [string, string?];
    const news = !!seq && !(this.get(epoch)! >= +seq);
    if (news) this.set(epoch, +seq);
    return news;
  }
}
