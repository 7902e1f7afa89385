// Puts the parts together: buttons, keys, the theme, and what is there at the start.

import { say, stopWriting } from "./ask.js";
import { stopTalking } from "./chat.js";
import { byId } from "./dom.js";
import "./drop.js";
import { openDocuments, refresh } from "./documents.js";
import { openHistory } from "./history.js";
import * as panel from "./panel.js";
import { setLimit, setShow } from "./uploads.js";
import * as view from "./view.js";
import { meet } from "./writer.js";

byId("open-documents").addEventListener("click", openDocuments);
byId("open-history").addEventListener("click", openHistory);
setShow(() => { if (!panel.isShown("documents")) openDocuments(); });

byId("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const now = root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  root.dataset.theme = now === "dark" ? "light" : "dark";
  try {
    localStorage.setItem("theme", root.dataset.theme);
  } catch {
    // Storage may be forbidden; the choice then lasts until the page is left.
  }
});

addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.isComposing || document.querySelector("dialog[open]")) return;
  const typing = event.target.closest?.("input, textarea, [contenteditable]");
  if (event.key === "Escape") {
    const inPanel = byId("panel").contains(event.target);
    if (inPanel || !(view.view() === "chat" ? stopTalking() : stopWriting())) panel.close();
  }
  else if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    if (byId("main").inert) panel.close();
    view.box().focus();
    view.box().select();
  }
});

try {
  setLimit((await refresh()).limits.upload_bytes);
  await meet();
  view.settle();
} catch (error) {
  say(error.message);
}
document.body.dataset.ready = "true";
if (matchMedia("(hover: hover)").matches) view.box().focus();
