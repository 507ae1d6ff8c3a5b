import { chat } from "./chat.js";
import { code } from "./code.js";
import { topics } from "./topics.js";

const page = document.getElementById.bind(document);

// The browser knows better than the server where it is, if there is a proxy.
for (const e of document.querySelectorAll("[data-origin]")) e.textContent = location.origin;
for (const e of document.querySelectorAll("[data-socket]")) e.textContent = location.origin.replace("http", "ws");

code(document.querySelector(".code"));
topics(page("topics"));
chat(page("chat"), (state, text) => {
  page("status").dataset.state = state;
  page("status").textContent = text;
});
