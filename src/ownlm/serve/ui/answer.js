// An answer: quotations, each with the place it comes from; or, plainly, that there is none.

import { byId, el, fileName, plural, sentence } from "./dom.js";
import { openSource } from "./source.js";
import { setScope } from "./scope.js";

const section = byId("answer");

const place = (cited) => {
  const heading = cited.heading?.length ? cited.heading[cited.heading.length - 1] : "";
  const title = cited.title || fileName(cited.document);
  return [title, heading === title ? "" : heading, cited.page ? `page\u00a0${cited.page}` : ""].filter(Boolean);
};

function show(button, citation) {
  for (const other of section.querySelectorAll("[aria-current]")) other.removeAttribute("aria-current");
  button.setAttribute("aria-current", "true");
  openSource(wasRemoved(citation) ? { document: citation.document } : citation, { onScope: setScope });
}

function citeButton(citation) {
  const [title, ...where] = place(citation);
  const button = el("button", { type: "button", class: "cite", title: citation.document, onclick: () => show(button, citation) },
    el("span", { class: "cite-title" }, title),
    ...where.map((part) => el("span", { class: "cite-where" }, part)));
  return button;
}

const ROW = /^[^|\n:]+: [^|\n]*(?: \| [^|\n:]+: [^|\n]*)+$/;

/** The ledger keeps the digest of what it quoted from a document that was removed, and not its words. */
const wasRemoved = (span) => span.sha256 !== undefined;
const removed = () => el("blockquote", { class: "redacted" }, "This text was removed together with its document.");

/** A quotation, to the letter. In a table's row ("Header: value | Header: value") the headers step back. */
function quotation({ text, citations }) {
  if (citations.some(wasRemoved)) return removed();
  if (!ROW.test(text)) return el("blockquote", {}, text);
  return el("blockquote", { class: "row" }, ...text.split(/(?<= \| )/).map((cell) => {
    const [, header, value, bar] = /^([^:]+: )(.*?)( \| )?$/s.exec(cell);
    return el("span", {}, el("span", { class: "header" }, header), value, bar ? el("span", { class: "bar-mark" }, bar) : "");
  }));
}

export function begin(question) {
  section.replaceChildren(el("h2", { class: "question" }, question));
  section.hidden = false;
}

export function addClaim(claim) {
  section.append(el("figure", { class: "claim" },
    quotation(claim),
    el("figcaption", {}, ...claim.citations.map(citeButton))));
}

/** What comes after the claims: notes, the passages that were read, when it was. */
export function finish(answer, { when } = {}) {
  if (answer.abstained) {
    section.append(el("div", { class: "none" },
      el("p", { class: "none-head" }, "Your documents do not seem to answer this."),
      el("p", { class: "none-text" }, answer.passages.length
        ? "Nothing is quoted, because no passage answers it well enough. These come nearest."
        : "Nothing in them comes near it.")));
    section.append(...answer.passages.slice(0, 5).map((passage) => passageItem(passage)));
  }
  if (answer.notes.length) section.append(el("ul", { class: "notes" }, ...answer.notes.map((note) => el("li", {}, sentence(note)))));
  if (!answer.abstained && answer.passages.length) {
    section.append(el("details", { class: "read" },
      el("summary", {}, `${plural(answer.passages.length, "passage")} read for this answer`),
      ...answer.passages.map((passage) => passageItem(passage))));
  }
  if (when) section.append(el("p", { class: "when" }, `Answered ${when}`));
}

function passageItem(passage) {
  const citation = { ...passage, quote: passage.text };
  const text = !wasRemoved(passage) ? el("blockquote", {}, passage.text.replace(/\n\s*\n/g, "\n")) : removed();
  return el("figure", { class: "passage" }, text, el("figcaption", {}, citeButton(citation)));
}

export function fail(message) {
  section.append(el("p", { class: "notice", role: "alert" }, message));
}

/** In one sentence, for those who hear the page. */
export function summary(answer) {
  if (answer.abstained) return "Your documents do not seem to answer this.";
  const documents = new Set(answer.claims.flatMap((claim) => claim.citations.map((citation) => citation.document)));
  return `${plural(answer.claims.length, "quotation")} from ${plural(documents.size, "document")}.`;
}
