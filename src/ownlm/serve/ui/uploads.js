// Files dropped anywhere or chosen: sent one after the other, and watched while they are indexed.

import { events } from "./api.js";
import { byId, el, iconButton, plural, sentence } from "./dom.js";

const rows = el("ul", { class: "plain uploads", "aria-label": "Files being added", "aria-live": "polite" });
const listeners = [];
let line = Promise.resolve();
let limit = Infinity;
let show = () => {};

export const uploadList = () => rows;
export const onIndexed = (listener) => listeners.push(listener);
export const setLimit = (bytes) => { limit = bytes; };
export const setShow = (open) => { show = open; };
export const chooseFiles = () => byId("files").click();

export function add(files) {
  if (!files.length) return;
  show();
  for (const file of files) {
    const row = new Row(file);
    rows.append(row.node);
    line = line.then(() => row.send()).then(() => listeners.forEach((listener) => listener()));
  }
}

class Row {
  constructor(file) {
    this.file = file;
    this.abort = new AbortController();
    this.bar = el("progress", { max: 1, value: 0, "aria-label": `Adding ${file.name}` });
    this.note = el("span", { class: "upload-note" }, "Waiting");
    this.actions = el("span", { class: "upload-actions" });
    this.cancel = iconButton("close", `Cancel ${file.name}`, () => this.stop(), "small");
    this.node = el("li", { class: "upload" },
      el("div", { class: "upload-head" }, el("span", { class: "upload-name" }, file.name), this.cancel), this.bar, this.note, this.actions);
  }

  stop() {
    this.abort.abort();
    this.node.remove();
  }

  say(text) {
    this.note.textContent = text;
  }

  fail(text) {
    this.bar.remove();
    this.node.classList.add("failed");
    this.say(text);
    this.cancel.setAttribute("aria-label", "Dismiss");
    this.cancel.title = "Dismiss";
  }

  async send(ifExists = "refuse") {
    if (this.abort.signal.aborted) return;
    if (this.file.size > limit) {
      this.fail(`Too large: at most ${Math.floor(limit / 1048576)} MB. Index its folder with ownlm index add instead.`);
      return;
    }
    try {
      this.say("Sending");
      this.bar.removeAttribute("value");
      const body = { name: this.file.name, content_base64: await base64(this.file), if_exists: ifExists };
      for await (const [name, data] of events("/api/documents", body, this.abort.signal)) {
        if (name === "progress") this.progress(data);
      }
      this.node.remove();
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error.code === "document_exists") this.choose();
      else this.fail(sentence(error.message));
    }
  }

  progress({ done, total, chunks, seconds_left: left }) {
    if (total) this.bar.value = done / total;
    const parts = ["Indexing", `${done} of ${plural(total, "document")}`, plural(chunks, "chunk")];
    if (left !== null) parts.push(`${Math.ceil(left)} s left`);
    this.say(parts.join(" · "));
  }

  choose() {
    this.fail("A file of this name was added before, with other content.");
    const choice = (label, value) => el("button", { type: "button", class: "button small", onclick: () => {
      this.actions.replaceChildren();
      this.node.classList.remove("failed");
      this.note.before(this.bar);
      line = line.then(() => this.send(value)).then(() => listeners.forEach((listener) => listener()));
    } }, label);
    this.actions.replaceChildren(choice("Replace it", "replace"), choice("Keep both", "keep_both"));
  }
}

function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Error("The file cannot be read: is it still there?"));
    reader.readAsDataURL(file);
  });
}

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
