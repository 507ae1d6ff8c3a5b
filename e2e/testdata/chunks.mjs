// Node publishes bodies whose length it does not know.
import { Agent, request } from "node:http";
import { once } from "node:events";

const agent = new Agent({ keepAlive: true, maxSockets: 1 });
for (let i = 0; i < 5; i++) {
  const publish = request(process.argv[2], { method: "POST", agent, headers: { "Content-Type": "text/plain" } });
  publish.write("part ");
  publish.end(String(i));
  const [answer] = await once(publish, "response");
  if (answer.statusCode !== 201) throw new Error(String(answer.statusCode));
  answer.resume();
  await once(answer, "end");
}
agent.destroy();
console.log("done");
