// Which of the two is in front: asking the documents, or talking with the writer. Back and forward go between them.

import { byId } from "./dom.js";
import { theWriter } from "./writer.js";

const CHAT = new Set(["#chat", "#message"]);
const main = byId("main");
const top = { ask: 0, chat: 0 }; // how far each was scrolled
let shown = "ask";

export const view = () => shown;

/** Where one types. */
export const box = () => byId(shown === "chat" ? "message" : "question");

/** Bring one to the front. */
export function show(name) {
  if (name === shown) return;
  history.pushState(null, "", `#${name}`);
  settle();
}

/** As the address says. */
export function settle() {
  const wanted = theWriter()?.chat && CHAT.has(location.hash) ? "chat" : "ask";
  if (wanted === shown) return;
  top[shown] = main.scrollTop;
  shown = wanted;
  byId("chat").hidden = shown !== "chat";
  byId("column").hidden = shown === "chat";
  for (const name of ["ask", "chat"]) {
    if (name === shown) byId(`view-${name}`).setAttribute("aria-current", "page");
    else byId(`view-${name}`).removeAttribute("aria-current");
  }
  byId("skip").href = `#${box().id}`;
  byId("skip").textContent = `Skip to the ${box().id}`;
  main.scrollTop = top[shown];
  if (matchMedia("(hover: hover)").matches) box().focus({ preventScroll: true });
}

for (const name of ["ask", "chat"]) {
  byId(`view-${name}`).addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return; // another tab
    event.preventDefault();
    show(name);
  });
}
addEventListener("popstate", settle);
