// The documents: how many, which, and taking one out.

import { get, remove } from "./api.js";
import { say } from "./ask.js";
import { byId, el, fileName, icon, iconButton, plural } from "./dom.js";
import * as panel from "./panel.js";
import { setScope } from "./scope.js";
import { openSource } from "./source.js";
import { chooseFiles, onIndexed, uploadList } from "./uploads.js";

const PAGE = 100;
const FILTER_FROM = 12;
const KINDS = {
  "application/pdf": "PDF", "text/markdown": "Markdown", "text/html": "HTML", "text/plain": "Text", "text/csv": "CSV",
  "application/epub+zip": "EPUB",
  "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "Word",
  "application/vnd.openxmlformats-officedocument.presentationml.presentation": "Slides",
  "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "Spreadsheet",
};

let list = null;

const size = (bytes) => {
  const units = ["bytes", "KB", "MB", "GB"];
  let power = 0;
  let value = bytes;
  while (value >= 1000 && power < 3) { value /= 1000; power += 1; }
  return `${value.toLocaleString(undefined, { maximumFractionDigits: value < 10 && power ? 1 : 0 })} ${units[power]}`;
};

/** Count them, and set the greeting by what is there. */
export async function refresh() {
  const page = await get("/api/documents?limit=6");
  byId("document-count").textContent = page.indexed ? page.indexed.toLocaleString() : "";
  const welcome = byId("welcome");
  if (!byId("main").classList.contains("start")) return page;
  welcome.hidden = false;
  welcome.replaceChildren(...(page.indexed ? shelf(page) : invitation()));
  return page;
}

/** What an answer is: the model's words only where that was chosen. */
const promise = (from, end) => el("p", { class: "promise" },
  el("span", { class: "when-quoting" }, `Answers are quoted word for word${from}, each with its source${end}`),
  el("span", { class: "when-writing" }, `Answers are written by the model${from}, each statement with its sources${end}`));

function invitation() {
  return [
    el("button", { type: "button", class: "invite", onclick: chooseFiles }, icon("drop"),
      el("span", { class: "invite-head" }, "Drop your documents here"),
      el("span", { class: "invite-text" }, "or choose files: PDF, Word, slides, spreadsheets, web pages, EPUB, text, code")),
    promise("", ". Nothing is sent anywhere else."),
  ];
}

function shelf(page) {
  const titles = page.documents.map((document) => el("li", {},
    el("button", { type: "button", class: "chip", title: document.name, onclick: () => openSource({ document: document.name }, { onScope: setScope }) },
      document.title || fileName(document.name))));
  const rest = page.indexed - page.documents.length;
  if (rest > 0) titles.push(el("li", {}, el("button", { type: "button", class: "chip faint", onclick: openDocuments }, `${rest.toLocaleString()} more`)));
  return [
    promise(` from ${plural(page.indexed, "document")}`, "."),
    el("ul", { class: "chips" }, ...titles),
  ];
}

export async function openDocuments() {
  if (panel.isShown("documents")) return panel.close();
  list = el("ul", { class: "plain documents" });
  const add = el("button", { type: "button", class: "button", onclick: chooseFiles }, icon("plus"), "Add files");
  const filter = el("input", { type: "search", placeholder: "Filter by title or path", "aria-label": "Filter documents", hidden: true });
  let typing = 0;
  filter.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => load(filter.value), 150); });
  panel.open({ kind: "documents", title: "Documents", tools: [add, filter], body: [uploadList(), list], onclose: () => { list = null; } });
  const page = await load("");
  filter.hidden = !page || page.indexed < FILTER_FROM;
}

async function load(match, offset = 0) {
  if (!list) return null;
  const mine = list;
  let page;
  try {
    page = await get(`/api/documents?limit=${PAGE}&offset=${offset}&match=${encodeURIComponent(match)}`);
  } catch (error) {
    mine.replaceChildren(el("li", { class: "notice", role: "alert" }, error.message));
    return null;
  }
  if (mine !== list) return null;
  byId("panel-note").textContent = match ? `${plural(page.total, "match", "matches")} of ${page.indexed.toLocaleString()}` : plural(page.indexed, "document");
  if (offset === 0) mine.replaceChildren();
  mine.append(...page.documents.map(row));
  if (page.indexed === 0) mine.append(el("li", { class: "empty" }, "Nothing is indexed yet. Drop files anywhere on this page."));
  const next = offset + page.documents.length;
  if (next < page.total && page.documents.length) {
    const more = el("button", { type: "button", class: "more", onclick: () => { more.parentNode.remove(); load(match, next); } }, "More documents");
    mine.append(el("li", {}, more));
  }
  return page;
}

function row(document) {
  const title = document.title || fileName(document.name);
  const about = [KINDS[document.media_type] ?? document.media_type.split("/").pop(), size(document.size)].join(" · ");
  return el("li", { class: "document" },
    el("button", { type: "button", class: "document-open", title: document.name, onclick: () => openSource({ document: document.name }, { onScope: setScope }) },
      el("span", { class: "document-title" }, title),
      el("span", { class: "document-about" }, fileName(document.name) === title ? about : `${fileName(document.name)} · ${about}`)),
    iconButton("bin", `Remove ${title}`, () => askToRemove(document, title)));
}

function askToRemove(document, title) {
  const dialog = byId("confirm");
  byId("confirm-title").textContent = `Remove “${title}”?`;
  byId("confirm-text").textContent = document.uploaded
    ? "It was added on this page: OwnLM's copy is deleted, and it is not answered from any more."
    : "It is not answered from any more. The file itself stays where it is, and indexing its folder again brings it back.";
  dialog.returnValue = "no";
  dialog.addEventListener("close", async () => {
    if (dialog.returnValue !== "yes") return;
    try {
      await remove(`/api/documents/${document.id}`);
    } catch (error) {
      list?.prepend(el("li", { class: "notice", role: "alert" }, error.message));
      return;
    }
    say(`${title} was removed.`);
    await Promise.all([refresh(), load("")]);
    byId("panel-title").focus();
  }, { once: true });
  dialog.showModal();
}

onIndexed(() => { refresh(); load(""); });
