import { element } from "./element.js";

const topic = "/topics/chat/lobby";
const shown = 200; // messages on the page
const names = ["Ada", "Alan", "Barbara", "Donald", "Edsger", "Frances", "Grace", "Hedy", "Jon", "Katherine", "Leslie", "Margaret", "Radia", "Tim", "Vint"];

// Each tab is somebody else, also after a reload.
function remembered(key, make) {
  const value = sessionStorage.getItem(key) ?? make();
  sessionStorage.setItem(key, value);
  return value;
}

// chat shows the newest messages of the lobby and those that come, and publishes
// what is typed. It tells how its connection is.
export function chat(section, status) {
  const list = section.querySelector("#messages");
  const form = section.querySelector("#say");
  const name = section.querySelector("#name");
  const text = section.querySelector("#text");
  const answer = section.querySelector("#answer");
  const tab = remembered("tab", () => Math.random().toString(36).slice(2, 10));
  name.value = remembered("name", () => names[Math.floor(Math.random() * names.length)]);
  name.onchange = () => sessionStorage.setItem("name", name.value);

  function show(event) {
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    list.querySelector(`.waiting[data-key="${CSS.escape(event.data?.key ?? "")}"]`)?.remove();
    const li = line(event, tab, list.lastElementChild);
    list.append(li);
    while (list.children.length > shown) list.firstElementChild.remove();
    section.querySelector("#chat-hint").hidden = true;
    if (atEnd || li.classList.contains("mine")) list.scrollTop = list.scrollHeight;
  }

  form.onsubmit = async (submit) => {
    submit.preventDefault();
    const key = `${tab}-${Date.now().toString(36)}`;
    const data = { name: name.value, text: text.value, tab, key };
    answer.textContent = "";
    text.value = "";
    text.focus();
    const waiting = line({ data }, tab, list.lastElementChild);
    waiting.classList.add("waiting");
    list.append(waiting);
    list.scrollTop = list.scrollHeight;
    section.querySelector("#chat-hint").hidden = true;
    try {
      const response = await fetch(topic, {
        method: "POST",
        headers: { "Content-Type": "application/json", "Idempotency-Key": key },
        body: JSON.stringify(data),
      });
      if (!response.ok) throw new Error((await response.json()).title);
    } catch (error) {
      waiting.remove();
      text.value ||= data.text;
      answer.textContent = `Not sent: ${error.message}`;
    }
  };

  listen(show, status);
}

async function listen(show, status) {
  let cursor = "now";
  try {
    const page = await (await fetch(`${topic}?limit=30`)).json();
    page.events.forEach(show);
    cursor = page.cursor;
  } catch {
    status("broken", "the server cannot be reached");
  }
  const events = new EventSource(`${topic}?envelope&after=${cursor}`);
  events.onopen = () => status("open", "connected: sse");
  events.onerror = () => status("broken", "reconnecting");
  for (const type of ["message", "$gap", "$end"]) events.addEventListener(type, ({ data }) => show(JSON.parse(data)));
}

// line makes the line of an event. Plain text is from people with other tools.
function line({ event, data, time }, tab, before) {
  if (event?.startsWith("$")) {
    return element("li", { class: "signal" }, event === "$end" ? "The topic has ended." : "Some messages before the next are gone.");
  }
  const said = typeof data === "object" && data !== null && typeof data.text === "string" ? data : { text: typeof data === "string" ? data : JSON.stringify(data) };
  const who = typeof said.name === "string" && said.name !== "" ? said.name : "somebody";
  const from = `${said.tab} ${who}`;
  const at = new Date(time ?? Date.now());
  const li = element("li", { class: said.tab === tab ? "mine" : "theirs", "data-from": from, "data-key": String(said.key) },
    element("span", { class: "who" }, `${who}, `, element("time", { datetime: at.toISOString() }, at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }))),
    element("span", { class: "said" }, said.text));
  if (before?.dataset.from === from) li.classList.add("next");
  return li;
}
