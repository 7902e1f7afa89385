// The model that may write, where the server runs one: its name, its speed, and what it opens on the page.

import { get } from "./api.js";
import { byId, el } from "./dom.js";

const MODE = "mode";
let writer = null;

/** { name, context, chat }, or null. */
export const theWriter = () => writer;

/** "extract" or "generate"; nothing where there is no choice. */
export const mode = () => (writer ? document.body.dataset.mode : undefined);

const speed = (rate) => `${rate.toLocaleString(undefined, { maximumFractionDigits: rate < 10 ? 1 : 0 })}\u00a0tokens/s`;

/** Ask who writes and how fast that has been. Without a writer the page stays as it is. */
export async function meet() {
  const found = await get("/api/writer");
  if (!found.writer) return;
  writer = found.writer;
  for (const note of document.querySelectorAll(".writer")) {
    note.title = `${writer.name} writes, up to ${writer.context.toLocaleString()} tokens together with what it reads`;
    note.replaceChildren(el("bdi", { class: "writer-name" }, writer.name),
      found.tokens_per_second ? el("span", { class: "writer-speed" }, speed(found.tokens_per_second)) : "");
  }
  for (const name of document.querySelectorAll(".writer-called")) name.textContent = writer.name;
  if (document.body.classList.contains("has-writer")) return;
  document.body.classList.add("has-writer");
  byId("how").hidden = false;
  byId("views").hidden = !writer.chat;
  choose(remembered());
}

/** The speed changes with each text; that it cannot be had just now disturbs nobody. */
export const measure = () => meet().catch(() => {});

function remembered() {
  try {
    return localStorage.getItem(MODE) === "generate" ? "generate" : "extract";
  } catch {
    return "extract"; // Storage may be forbidden.
  }
}

function choose(value) {
  document.body.dataset.mode = value;
  byId(`mode-${value}`).checked = true;
}

byId("how").addEventListener("change", (event) => {
  choose(event.target.value);
  try {
    localStorage.setItem(MODE, event.target.value);
  } catch {
    // The choice then lasts until the page is left.
  }
});
