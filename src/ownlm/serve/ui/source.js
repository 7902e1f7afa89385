// A document beside the answer, by windows of text, with the cited span marked and in view.

import { get } from "./api.js";
import { Characters, byId, el, fileName, sentence } from "./dom.js";
import * as panel from "./panel.js";

const AROUND = 8000;
const STEP = 20000;

/** Open a document at a citation {document, start, end, quote}, or at its beginning. */
export async function openSource(citation, { onScope } = {}) {
  const key = encodeURIComponent(citation.document);
  const load = (start, end) => get(`/api/documents/${key}?start=${start}&end=${end}`);
  let first;
  const from = Math.max(0, (citation.start ?? 0) - AROUND);
  try {
    first = await load(from, Math.max(citation.end ?? 0, citation.start ?? 0) + AROUND);
  } catch (error) {
    panel.open({ kind: "source", title: citation.title || fileName(citation.document), body: [notice(gone(error))] });
    return;
  }
  const span = await find(citation, first, load);
  const reader = new Reader(span.window ?? first, span, load);
  const scope = onScope && el("button", { type: "button", class: "button small", onclick: () => onScope(first.document) },
    "Ask only this document");
  panel.open({
    kind: "source",
    title: first.document.title || fileName(first.document.name),
    note: first.document.name,
    tools: scope ? [scope] : [],
    body: [...(span.note ? [notice(span.note)] : []), reader.node, about(first.document.notes)],
    onclose: () => reader.stop(),
  });
  reader.reveal();
}

const gone = (error) => error.status === 404
  ? "This document is no longer in the index, so its text cannot be shown."
  : error.message;

const notice = (text) => el("p", { class: "notice", role: "note" }, text);

/** What the reader of the file had to say. */
const about = (notes) => notes.length ? el("footer", { class: "about" }, ...notes.map((note) => el("p", {}, sentence(note)))) : "";

/** The span to mark. If the document changed since the answer, the quote is looked for near where it was. */
async function find(citation, window, load) {
  if (citation.start === undefined) return { start: 0, end: 0 };
  const text = new Characters(window.text);
  const there = text.slice(citation.start - window.start, citation.end - window.start);
  if (!citation.quote || there === citation.quote) return { start: citation.start, end: citation.end };
  const moved = text.indexOf(citation.quote);
  if (moved >= 0) {
    const start = window.start + moved;
    return { start, end: start + citation.end - citation.start, note: "This document changed after the answer; the quotation has moved." };
  }
  return {
    start: 0, end: 0, window: await load(0, STEP),
    note: "This document changed after the answer, and the quotation is not where it was.",
  };
}

/** Text with its blank lines a little lower than a line, as paragraphs are set. */
function lines(text) {
  return text.split(/(\n{2,})/).filter(Boolean).map((part) =>
    part.startsWith("\n\n") ? el("span", { class: "gap" }, part) : document.createTextNode(part));
}

class Reader {
  constructor(window, span, load) {
    this.span = span;
    this.load = load;
    this.start = window.start;
    this.end = window.end;
    this.characters = window.characters;
    this.earlier = el("button", { type: "button", class: "more", onclick: () => this.extend("earlier") }, "Earlier text");
    this.later = el("button", { type: "button", class: "more", onclick: () => this.extend("later") }, "Later text");
    this.text = el("div", { class: "text" }, ...this.render(window));
    this.node = el("div", { class: "reader" }, this.earlier, this.text, this.later);
    this.observer = new IntersectionObserver((entries) => {
      for (const entry of entries) if (entry.isIntersecting) this.extend("later");
    }, { root: byId("panel-body"), rootMargin: "400px" });
    this.observer.observe(this.later);
    this.settle();
  }

  stop() {
    this.observer.disconnect();
  }

  settle() {
    this.earlier.hidden = this.start === 0;
    this.later.hidden = this.end >= this.characters;
  }

  reveal() {
    const mark = this.text.querySelector("mark");
    mark?.scrollIntoView({ block: "center" });
  }

  async extend(side) {
    if (this.loading) return;
    this.loading = true;
    const body = byId("panel-body");
    try {
      if (side === "later" && this.end < this.characters) {
        const window = await this.load(this.end, this.end + STEP);
        this.text.append(...this.render(window));
        this.end = window.end;
      } else if (side === "earlier" && this.start > 0) {
        const window = await this.load(Math.max(0, this.start - STEP), this.start);
        const below = body.scrollHeight - body.scrollTop;
        this.text.prepend(...this.render(window));
        body.scrollTop = body.scrollHeight - below;
        this.start = window.start;
      }
      this.settle();
    } catch (error) {
      this.text.append(notice(error.message));
      this.stop();
    } finally {
      this.loading = false;
    }
  }

  /** Text as text: cut at the marks' edges, each piece wrapped by what covers it. */
  render(window) {
    const text = new Characters(window.text);
    const local = (offset) => Math.min(Math.max(offset - window.start, 0), text.length);
    const headings = window.marks.filter((mark) => mark.kind === "heading");
    const pages = window.marks.filter((mark) => mark.kind === "page" && mark.start >= window.start);
    const cuts = new Set([0, text.length, local(this.span.start), local(this.span.end)]);
    for (const mark of headings) cuts.add(local(mark.start)).add(local(mark.end));
    for (const mark of pages) cuts.add(local(mark.start));
    const edges = [...cuts].sort((a, b) => a - b);
    const nodes = [];
    for (let index = 0; index + 1 < edges.length; index += 1) {
      const [from, to] = [edges[index], edges[index + 1]];
      for (const page of pages) {
        if (local(page.start) === from && page.label) nodes.push(el("div", { class: "page" }, `Page ${page.label}`));
      }
      const marked = from >= local(this.span.start) && to <= local(this.span.end);
      const heading = headings.find((mark) => local(mark.start) <= from && to <= local(mark.end));
      let pieces = lines(text.slice(from, to));
      if (heading) {
        const level = Math.min(heading.level || 1, 6);
        const hashes = /^#+\s/.exec(text.slice(from, to))?.[0];
        if (hashes) pieces = [el("span", { class: "hashes" }, hashes), ...lines(text.slice(from, to).slice(hashes.length))];
        pieces = [el("span", { class: `heading level-${level}`, role: "heading", "aria-level": String(level + 2) }, ...pieces)];
      }
      nodes.push(...(marked ? [el("mark", {}, ...pieces)] : pieces));
    }
    return nodes;
  }
}
