// Files dropped anywhere on the page, or chosen with its button.

import { byId } from "./dom.js";
import { add } from "./uploads.js";

/** The files of a drop; folders are walked, hidden names left out. */
async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files];
  const found = [];
  while (entries.length) {
    const entry = entries.shift();
    if (entry.name.startsWith(".")) continue;
    if (entry.isFile) found.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
    else {
      const reader = entry.createReader();
      for (;;) {
        const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
        if (!part.length) break;
        entries.push(...part);
      }
    }
  }
  return found;
}

const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
const overlay = byId("drop");

addEventListener("dragenter", (event) => { if (hasFiles(event)) overlay.hidden = false; });
addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
addEventListener("dragleave", (event) => { if (!event.relatedTarget) overlay.hidden = true; });
addEventListener("drop", async (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  overlay.hidden = true;
  add(await dropped(event.dataTransfer));
});
byId("files").addEventListener("change", (event) => {
  add([...event.target.files]);
  event.target.value = "";
});
