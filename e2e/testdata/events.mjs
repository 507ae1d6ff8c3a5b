// An event stream read by Node's own fetch.
const [topic] = process.argv.slice(2);
const post = async (body, type = "text/plain") => {
  const answer = await fetch(topic, { method: "POST", body, headers: { "Content-Type": type } });
  if (answer.status !== 201) throw new Error(`publish: ${answer.status}`);
  return (await answer.json()).id;
};

const signal = AbortSignal.timeout(150000);
const response = await fetch(topic, { headers: { Accept: "text/event-stream" }, signal });
if (response.status !== 200 || response.headers.get("content-type") !== "text/event-stream") throw new Error(`stream: ${response.status}`);
const ids = [await post("hello"), await post("two\nlines"), await post('{"n":3}', "application/json"), await post("grüße 🦫")];
const want = ["hello", "two\nlines", '{"n":3}', "grüße 🦫"];

const got = [];
let rest = "";
reading: for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
  const blocks = (rest + chunk).split("\n\n");
  rest = blocks.pop();
  for (const block of blocks) {
    const fields = block.split("\n").map((line) => /^(\w*): ?(.*)$/.exec(line).slice(1));
    const values = (name) => fields.filter(([field]) => field === name).map(([, value]) => value);
    if (!values("data").length || values("event")[0]?.startsWith("$")) continue;
    got.push([values("id")[0], values("data").join("\n")]);
    if (got.length === want.length) break reading;
  }
}
console.log(got);
want.forEach((data, i) => {
  if (got[i][0] !== ids[i] || got[i][1] !== data) throw new Error(`event ${i} is ${got[i]}, not ${ids[i]},${data}`);
});
console.log("done");
