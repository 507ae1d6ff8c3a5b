import { element } from "./element.js";

const topic = "chat/lobby";
const shown = 200; // messages on the page
const names = ["Ada", "Alan", "Barbara", "Donald", "Edsger", "Frances", "Grace", "Hedy", "Jon", "Katherine", "Leslie", "Margaret", "Radia", "Tim", "Vint"];

// Each tab is somebody else, also after a reload.
function remembered(key, make) {
  const value = sessionStorage.getItem(key) ?? make();
  sessionStorage.setItem(key, value);
  return value;
}

// chat shows the newest messages of the lobby and those that come, and publishes
// what is typed.
export function chat(section, client) {
  const list = section.querySelector("#messages");
  const form = section.querySelector("#say");
  const name = section.querySelector("#name");
  const text = section.querySelector("#text");
  const answer = section.querySelector("#answer");
  const transport = section.querySelector("#transport");
  const all = [...transport.options].map((option) => option.value).filter(Boolean);
  const tab = remembered("tab", () => Math.random().toString(36).slice(2, 10));
  name.value = remembered("name", () => names[Math.floor(Math.random() * names.length)]);
  name.onchange = () => sessionStorage.setItem("name", name.value);
  transport.onchange = () => client.use(transport.value ? [transport.value] : all);

  function append(li) {
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    list.append(li);
    while (list.children.length > shown) list.firstElementChild.remove();
    section.querySelector("#chat-hint").hidden = true;
    if (atEnd || li.classList.contains("mine")) list.scrollTop = list.scrollHeight;
  }

  function show(event) {
    list.querySelector(`.waiting[data-key="${CSS.escape(event.data?.key ?? "")}"]`)?.remove();
    append(line(event, tab, list.lastElementChild));
  }

  form.onsubmit = async (submit) => {
    submit.preventDefault();
    const key = `${tab}-${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 6)}`;
    const data = { name: name.value, text: text.value, tab, key };
    answer.textContent = "";
    text.value = "";
    text.focus();
    const waiting = line({ data }, tab, list.lastElementChild);
    waiting.classList.add("waiting");
    append(waiting);
    try {
      await client.publish(topic, data, { key });
    } catch (error) {
      waiting.remove();
      text.value ||= data.text;
      answer.textContent = `Not sent: ${error.message}`;
    }
  };

  listen(client, show);
}

async function listen(client, show) {
  let after = "now";
  for (let pause = 500; ; pause = Math.min(2 * pause, 10000)) {
    try {
      const page = await client.history(topic, { limit: 30 });
      page.events.forEach(show);
      after = page.cursor;
      break;
    } catch (error) {
      if (!error.retryable) break;
      await new Promise((done) => setTimeout(done, pause));
    }
  }
  client.subscribe(topic, show, { after });
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
