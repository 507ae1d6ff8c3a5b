import { Duplex } from "/client.js";
import { chat } from "./chat.js";
import { checks } from "./check.js";
import { code } from "./code.js";
import { element } from "./element.js";
import { topics } from "./topics.js";

const page = document.getElementById.bind(document);

// All tabs of this page have one connection, and what is said offline is not lost.
const client = new Duplex("/", { shared: true, persist: true });

// The browser knows better than the server where it is, if there is a proxy.
for (const e of document.querySelectorAll("[data-origin]")) e.textContent = location.origin;
for (const e of document.querySelectorAll("[data-socket]")) e.textContent = location.origin.replace("http", "ws");

code(document.querySelector(".code"));
topics(page("topics"));
checks(page("check"));
chat(page("chat"), client);

client.addEventListener("status", () => {
  const { state, transport, latency, waiting, error } = client.status;
  const words = [state === "connected" ? `connected: ${transport}` : state];
  if (state === "waiting" && error) words.push(error.message);
  if (waiting > 0) words.push(`${waiting} to send`);
  page("status").replaceChildren(element("span", {}, words.join(", ")));
  if (state === "connected" && latency !== undefined) page("status").append(element("span", { class: "wide" }, `${Math.round(latency)} ms`));
  page("status").dataset.state = state === "connected" ? "open" : state === "connecting" ? "waiting" : "broken";
});
