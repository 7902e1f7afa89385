// Files being added: sent one after the other, and watched while they are indexed.

import { events } from "./api.js";
import { say } from "./ask.js";
import { byId, el, iconButton, plural, sentence } from "./dom.js";

const rows = el("ul", { class: "plain uploads", "aria-label": "Files being added" });
const listeners = [];
const standing = new Set();
let line = Promise.resolve();
let notice = 0;
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
    stand(row);
  }
}

/** Stand in line to be sent. What is listed is read again three times a second at most. */
function stand(row, ifExists) {
  standing.add(row);
  total.enter(row.file);
  line = line.then(() => row.send(ifExists)).then(() => {
    standing.delete(row);
    total.leave(row.file);
    notice ||= setTimeout(() => {
      notice = 0;
      listeners.forEach((listener) => listener());
    }, 300);
  });
}

/** How far all files are that were added together: shown when there are several. */
class Batch {
  constructor() {
    this.text = el("span");
    const cancel = el("button", { type: "button", class: "quiet", onclick: () => standing.forEach((row) => row.stop()) }, "Cancel all");
    this.node = el("li", { class: "batch" }, this.text, cancel);
    this.reset();
  }

  reset() {
    Object.assign(this, { files: 0, left: 0, bytes: 0, bytesLeft: 0, chunks: 0, begin: 0 });
    this.node.remove();
  }

  enter(file) {
    if (!this.left) this.begin = performance.now();
    this.files += 1;
    this.left += 1;
    this.bytes += file.size;
    this.bytesLeft += file.size;
    this.say();
  }

  leave(file) {
    this.left -= 1;
    this.bytesLeft -= file.size;
    if (this.left) this.say();
    else this.reset();
  }

  say() {
    if (this.files < 2) return;
    rows.prepend(this.node);
    const parts = [`${this.files - this.left} of ${plural(this.files, "file")} done`];
    if (this.chunks) parts.push(plural(this.chunks, "chunk"));
    const done = this.bytes - this.bytesLeft;
    if (done) parts.push(`${duration((performance.now() - this.begin) / 1000 / done * this.bytesLeft)} left`);
    this.text.textContent = parts.join(" · ");
  }
}

const total = new Batch();

const duration = (seconds) => seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.round(seconds / 60)} min`;

class Row {
  constructor(file) {
    this.file = file;
    this.abort = new AbortController();
    this.bar = el("progress", { max: 1, value: 0, "aria-label": `Adding ${file.name}` });
    this.note = el("span", { class: "upload-note" }, "Waiting");
    this.actions = el("span", { class: "upload-actions" });
    this.cancel = iconButton("close", `Cancel ${file.name}`, () => this.stop(), "small");
    this.node = el("li", { class: "upload waiting" },
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
    this.node.classList.remove("waiting");
    this.node.classList.add("failed");
    this.note.setAttribute("role", "alert");
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
      this.node.classList.remove("waiting");
      this.say("Sending");
      this.bar.removeAttribute("value");
      const body = { name: this.file.name, content_base64: await base64(this.file), if_exists: ifExists };
      for await (const [name, data] of events("/api/documents", body, this.abort.signal)) {
        if (name === "progress") this.progress(data);
        else if (name === "done") total.chunks += data.report.chunks;
      }
      this.node.remove();
      say(`${this.file.name} was added.`, { shown: false });
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error.code === "document_exists") this.choose();
      else this.fail(sentence(error.message));
    }
  }

  progress({ done, total, chunks, seconds_left: left }) {
    if (total) this.bar.value = done / total;
    const parts = ["Indexing", `${done} of ${plural(total, "document")}`, plural(chunks, "chunk")];
    if (left !== null) parts.push(`${duration(left)} left`);
    this.say(parts.join(" · "));
  }

  choose() {
    this.fail("A file of this name was added before, with other content.");
    const choice = (label, value) => el("button", { type: "button", class: "button small", onclick: () => {
      this.actions.replaceChildren();
      this.node.classList.remove("failed");
      this.note.before(this.bar);
      stand(this, value);
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
