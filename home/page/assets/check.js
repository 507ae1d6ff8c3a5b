import { Duplex } from "/client.js";
import { element } from "./element.js";

const transports = ["websocket", "webtransport", "sse", "stream", "longpoll", "poll"];

// checks shows what the network lets through, once and when it is asked to.
export function checks(section) {
  const body = section.querySelector("#checked");
  const advice = section.querySelector("#advice");
  const again = section.querySelector("#check-again");

  async function run() {
    again.disabled = true;
    body.replaceChildren(...transports.map((transport) => row({ transport })));
    advice.textContent = "Checking…";
    try {
      const report = await Duplex.check("/", {
        onresult: (checked) => body.children[transports.indexOf(checked.transport)]?.replaceWith(row(checked)),
      });
      advice.textContent = report.advice;
    } catch (error) {
      advice.textContent = `The check failed: ${error.message}`;
    }
    again.disabled = false;
  }
  again.onclick = run;
  run();
}

function row({ transport, works, version, firstSignal, overhead, cause, why }) {
  const number = (value, digits, unit) => (value === undefined ? "" : `${value.toLocaleString([], { maximumFractionDigits: digits })} ${unit}`);
  const [state, verdict] = works ? ["works", "good"] : cause === "not-offered" ? ["–", "none"] : cause ? ["no", "bad"] : ["", ""];
  return element("tr", {},
    element("th", { scope: "row" }, transport),
    element("td", {}, element("span", { class: `verdict ${verdict}` }, state)),
    element("td", { class: "wide" }, version ?? ""),
    element("td", { class: "number" }, number(firstSignal, firstSignal < 10 ? 1 : 0, "ms")),
    element("td", { class: "number wide" }, number(overhead, 0, "B")),
    element("td", { class: "why" }, why ?? ""));
}
