import type { Member } from "./api.ts";
import type { Client } from "./client.ts";
import { checkName } from "./event.ts";

/** The members of a topic: now, and again each time that they change (PROTOCOL.md §14). */
export async function* presence(client: Client, topic: string, signal?: AbortSignal): AsyncGenerator<Member[], void, undefined> {
  checkName(topic);
  const { http } = client;
  const name = `$presence/${topic}`;
  again: for (;;) {
    const members = new Map<string, Member>();
    let cursor: string | undefined;
    for (let from: string | undefined = ""; from !== undefined; ) {
      const response: Response = await http.request(http.url([name], { as: "poll", limit: 1000, from: from || undefined }), { signal });
      const page: { members: Member[]; cursor: string; more: boolean } = await response.json();
      for (const member of page.members) members.set(member.member, member);
      cursor ??= page.cursor;
      from = page.more ? page.members.at(-1)!.member : undefined;
    }
    yield [...members.values()];
    for await (const { event, data } of client.subscribe<{ joins: Member[]; leaves: Member[] }>(name, { after: cursor, signal })) {
      if (event === "$gap") continue again;
      if (event !== "presence") continue;
      for (const { member } of data.leaves) members.delete(member);
      for (const member of data.joins) members.set(member.member, member);
      yield [...members.values()];
    }
    return;
  }
}
