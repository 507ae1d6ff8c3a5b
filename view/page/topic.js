"use strict";
// The live page of a topic. Each transport is a function that delivers the
// events after the cursor until it fails; the cursor makes changing between
// them exact.
const $ = (id) => document.getElementById(id);
const { url, topic } = document.body.dataset;
let cursor = document.body.dataset.cursor;
let shown = $("events").children.length;
const several = new URL(url, location).searchParams.getAll("topic").length > 1;
const keep = 500;

const withQuery = (extra) => {
  const u = new URL(url, location);
  for (const [name, value] of Object.entries(extra)) u.searchParams.set(name, value);
  return u;
};

function status(state, text) {
  $("status").dataset.state = state;
  $("status").textContent = text;
}

function line(event) {
  const li = document.createElement("li");
  const add = (tag, text) => {
    const e = document.createElement(tag);
    e.textContent = text;
    li.append(e, " ");
    return e;
  };
  if (event.event?.startsWith("$")) {
    li.className = "signal";
    add("span", event.event === "$gap" ? "some events before the next are gone" : `${event.data.topic} has ended`);
    return li;
  }
  add("time", new Date(event.time).toLocaleTimeString()).dateTime = event.time;
  add("b", event.topic);
  if (event.event) add("i", event.event);
  add("code", event.id);
  if (event.binary && event.data.startsWith("data:image/")) {
    const img = document.createElement("img");
    img.src = event.data;
    img.alt = "";
    li.append(img);
  } else {
    add("pre", typeof event.data === "string" ? event.data : JSON.stringify(event.data));
  }
  return li;
}

// Many events may come at once: they are put into the page once per frame.
let waiting = [];
function take(event) {
  // In duplex.v1, the gap of one of several topics may lie beyond events of another (PROTOCOL.md §8.6).
  if (event.id && !(event.event === "$gap" && event.data.topic && several)) cursor = event.id;
  if (event.event === "$ping") return;
  if (!event.event?.startsWith("$")) shown++;
  waiting.push(event);
  if (waiting.length === 1) requestAnimationFrame(paint);
  if (waiting.length > keep) waiting.splice(1, waiting.length - keep);
}
function paint() {
  const events = waiting;
  waiting = [];
  const list = $("events");
  list.prepend(...events.map(line).reverse());
  while (list.children.length > keep) list.lastChild.remove();
  $("count").textContent = `${shown} events`;
}

// The server knows neither the reader's clock nor his habits.
for (const time of document.querySelectorAll("time")) time.textContent = new Date(time.dateTime).toLocaleTimeString();

class Ended extends Error {}

const transports = {
  websocket(open, signal) {
    return new Promise((_, fail) => {
      const u = withQuery({ after: cursor, as: "websocket" });
      u.protocol = u.protocol.replace("http", "ws");
      const socket = new WebSocket(u, "duplex.v1");
      socket.onmessage = ({ data }) => {
        open();
        const event = JSON.parse(data);
        take(event);
        if (event.event === "$end" && topic) fail(new Ended());
      };
      socket.onclose = ({ code }) => fail(new Error(`closed with ${code}`));
      signal.onabort = () => socket.close();
    });
  },
  // Not by an EventSource, which hears only the types of events that it is told.
  sse: (open, signal) => lines(open, signal, { as: "sse", envelope: "" }, "data: "),
  stream: (open, signal) => lines(open, signal, { as: "stream" }, ""),
  longpoll: (open, signal) => pages(open, signal, { as: "longpoll", wait: 25 }, 0),
  poll: (open, signal) => pages(open, signal, { as: "poll" }, 2000),
};

// lines takes the JSON of each line that begins with the mark.
async function lines(open, signal, query, mark) {
  const response = await fetch(withQuery({ ...query, after: cursor }), { signal, cache: "no-store" });
  if (response.status === 204) throw new Ended();
  if (!response.ok) throw new Error(`status ${response.status}`);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) throw new Error("the stream ended");
    open();
    const all = (rest + value).split("\n");
    rest = all.pop();
    for (const text of all) {
      if (text !== "" && text.startsWith(mark)) take(JSON.parse(text.slice(mark.length)));
    }
  }
}

async function pages(open, signal, query, pause) {
  for (;;) {
    const response = await fetch(withQuery({ ...query, after: cursor }), { signal, cache: "no-store" });
    if (!response.ok) throw new Error(`status ${response.status}`);
    open();
    const page = await response.json();
    if (page.gap) take({ event: "$gap", data: page.gap });
    page.events.forEach(take);
    cursor = page.cursor;
    if (page.end && !page.more) {
      take({ event: "$end", data: { topic } });
      throw new Ended();
    }
    if (!page.more) await sleep(pause);
  }
}

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

let chosen = new AbortController();
$("transport").onchange = () => chosen.abort();

// The order of preference: the first that opens within three seconds is used
// until it fails.
async function run() {
  for (let failures = 0; ; ) {
    const wanted = $("transport").value;
    const names = wanted ? [wanted] : ["websocket", "sse", "longpoll"];
    for (const name of names) {
      chosen = new AbortController();
      let opened = false;
      const late = setTimeout(() => opened || chosen.abort(), name === "longpoll" ? 30000 : 3000);
      const open = () => {
        if (opened) return;
        opened = true;
        failures = 0;
        status("open", `connected: ${name}`);
      };
      status("waiting", `connecting: ${name}`);
      if (name === "longpoll") open();
      const aborted = new Promise((_, fail) => chosen.signal.addEventListener("abort", () => fail(new Error("given up"))));
      try {
        await Promise.race([transports[name](open, chosen.signal), aborted]);
      } catch (error) {
        if (error instanceof Ended) {
          status("waiting", "the topic has ended");
          return;
        }
        status("broken", `${name}: ${error.message}`);
      } finally {
        clearTimeout(late);
        chosen.abort();
      }
      if (opened || $("transport").value !== wanted) break;
    }
    await sleep(Math.min(10000, 250 * 2 ** failures++) * (0.5 + Math.random() / 2));
  }
}

$("publish").onsubmit = async (submit) => {
  submit.preventDefault();
  const text = $("data").value;
  const target = new URL(url, location);
  if ($("type").value) target.searchParams.set("event", $("type").value);
  let type = "text/plain";
  try {
    if (typeof JSON.parse(text) === "object") type = "application/json";
  } catch {
    // not JSON
  }
  try {
    const response = await fetch(target, { method: "POST", body: text, headers: { "Content-Type": type } });
    const answer = await response.json();
    $("answer").textContent = response.ok ? `published as ${answer.id}` : answer.title;
    if (response.ok) $("data").value = "";
  } catch {
    $("answer").textContent = "the server cannot be reached";
  }
};
$("data").onkeydown = (key) => {
  if (key.key !== "Enter" || key.shiftKey) return;
  key.preventDefault();
  $("publish").requestSubmit();
};

run();
