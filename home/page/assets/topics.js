import { element } from "./element.js";

const every = 2000; // milliseconds
const kept = 30; // rates of the last minute
const rows = 10;

// topics shows the busiest of the first hundred topics, as long as somebody sees it.
export function topics(section) {
  const body = section.querySelector("#rows");
  const history = new Map(); // topic → its last rates

  async function refresh() {
    let list;
    try {
      const response = await fetch("/topics?limit=100", { headers: { Accept: "application/json" } });
      if (!response.ok) return;
      list = await response.json();
    } catch {
      return; // the status tells of it
    }
    for (const name of history.keys()) {
      if (!list.topics.some((t) => t.topic === name)) history.delete(name);
    }
    for (const { topic, rate } of list.topics) {
      const rates = history.get(topic) ?? [];
      rates.push(rate);
      history.set(topic, rates.slice(-kept));
    }
    const busiest = list.topics.toSorted((a, b) => b.rate - a.rate || Number(a.ended ?? 0) - Number(b.ended ?? 0) || b.subscribers - a.subscribers || b.events - a.events);
    paint(busiest.slice(0, rows));
    const some = list.topics.length;
    section.querySelector("#topics-count").textContent = list.more ? `the busiest of the first ${some}` : some > rows ? `the busiest of ${some}` : "";
    section.querySelector("#topics-hint").hidden = some > 0;
    section.querySelector("table").hidden = some === 0;
  }

  // Rows stay where they can: who has the focus in one keeps it.
  function paint(list) {
    const old = new Map([...body.children].map((row) => [row.dataset.topic, row]));
    list.forEach((topic, i) => {
      const row = old.get(topic.topic) ?? newRow(topic.topic);
      old.delete(topic.topic);
      fill(row, topic, history.get(topic.topic));
      if (body.children[i] !== row) body.insertBefore(row, body.children[i] ?? null);
    });
    for (const row of old.values()) row.remove();
  }

  const loop = async () => {
    if (!document.hidden) await refresh();
    setTimeout(loop, every);
  };
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
  loop();
}

function newRow(name) {
  const address = `/topics/${name.split("/").map(encodeURIComponent).join("/")}`;
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "spark");
  svg.setAttribute("viewBox", `0 0 ${kept - 1} 10`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  svg.append(document.createElementNS("http://www.w3.org/2000/svg", "path"));
  const row = element("tr", {},
    element("td", {}, element("a", { href: address }, name)),
    element("td", { class: "number" }), element("td", { class: "wide" }, svg), element("td", { class: "number" }), element("td", { class: "number wide" }));
  row.dataset.topic = name;
  return row;
}

function fill(row, topic, rates) {
  const [name, rate, spark, events, readers] = row.children;
  if (topic.ended && name.children.length === 1) name.append(element("span", { class: "tag" }, "ended"));
  rate.textContent = topic.rate.toLocaleString([], { maximumFractionDigits: topic.rate < 10 ? 1 : 0 });
  events.textContent = topic.events.toLocaleString();
  readers.textContent = topic.subscribers.toLocaleString();
  const most = Math.max(1, ...rates);
  const points = rates.map((r, i) => `${kept - rates.length + i} ${(9.5 - (9 * r) / most).toFixed(2)}`);
  spark.querySelector("path").setAttribute("d", `M${points.join("L")}`);
}
