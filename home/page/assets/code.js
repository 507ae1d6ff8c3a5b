import { element } from "./element.js";

// code makes tabs of the panels (WAI-ARIA's tabs pattern), and gives every snippet
// a button that copies it.
export function code(section) {
  const list = section.querySelector(".tabs");
  const panels = [...section.querySelectorAll("[data-tab]")];
  const tabs = panels.map((panel, i) => {
    panel.id = `code-${i}`;
    panel.setAttribute("role", "tabpanel");
    const tab = element("button", { type: "button", role: "tab", id: `tab-${i}`, "aria-controls": panel.id }, panel.dataset.tab);
    panel.setAttribute("aria-labelledby", tab.id);
    tab.onclick = () => select(i);
    return tab;
  });
  function select(chosen) {
    tabs.forEach((tab, i) => {
      tab.setAttribute("aria-selected", String(i === chosen));
      tab.tabIndex = i === chosen ? 0 : -1;
      panels[i].hidden = i !== chosen;
    });
  }
  list.onkeydown = (key) => {
    const at = tabs.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1 }[key.key];
    if (at < 0 || to === undefined) return;
    key.preventDefault();
    const next = (to + tabs.length) % tabs.length;
    select(next);
    tabs[next].focus();
  };
  list.append(...tabs);
  select(0);
  for (const pre of section.querySelectorAll("pre")) copyable(pre);
}

function copyable(pre) {
  const button = element("button", { type: "button", class: "button quiet" }, "Copy");
  const box = element("div", { class: "snippet" });
  pre.replaceWith(box);
  pre.tabIndex = 0; // it scrolls
  box.append(pre, button);
  button.onclick = async () => {
    button.textContent = (await copy(pre)) ? "Copied" : "Selected";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  };
}

// copy puts the text on the clipboard. Where pages may not (plain HTTP, another
// machine), it is selected at least.
async function copy(pre) {
  try {
    await navigator.clipboard.writeText(pre.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(pre);
    return false;
  }
}
