// An answer: quotations, each with the place it comes from; or what a model wrote; or, plainly, that there is none.

import { citeButton, removed, wasRemoved, whole } from "./cite.js";
import { byId, el, plural, sentence } from "./dom.js";
import { sources, statement } from "./written.js";

const section = byId("answer");

const ROW = /^[^|\n:]+: [^|\n]*(?: \| [^|\n:]+: [^|\n]*)+$/;

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
    el("figcaption", {}, ...claim.citations.map((citation) => citeButton(citation)))));
}

/** What a model wrote; `passages` are what its numbers stand for. */
export function addStatement(claim, passages) {
  section.append(statement(claim, passages));
}

/** What comes after the claims: sources, notes, the passages that were read, when it was. */
export function finish(answer, { when } = {}) {
  const written = answer.mode === "generate";
  if (answer.abstained) {
    section.append(el("div", { class: "none" },
      el("p", { class: "none-head" }, "Your documents do not seem to answer this."),
      el("p", { class: "none-text" }, answer.passages.length
        ? `${written ? "The model wrote no answer from the passages that it read." : "Nothing is quoted, because no passage answers it well enough."} These come nearest.`
        : "Nothing in them comes near it.")));
    section.append(...answer.passages.slice(0, 5).map((passage) => passageItem(passage)));
  }
  if (written) section.append(sources(answer.claims, answer.passages));
  if (answer.notes.length) section.append(el("ul", { class: "notes" }, ...answer.notes.map((note) => el("li", {}, sentence(note)))));
  if (!answer.abstained && answer.passages.length) {
    section.append(el("details", { class: "read" },
      el("summary", {}, `${plural(answer.passages.length, "passage")} read for this answer`),
      ...answer.passages.map((passage, index) => passageItem(passage, written ? index + 1 : 0))));
  }
  if (when) section.append(el("p", { class: "when" }, `Answered ${when}`));
}

function passageItem(passage, number) {
  const text = !wasRemoved(passage) ? el("blockquote", {}, passage.text.replace(/\n\s*\n/g, "\n")) : removed();
  return el("figure", { class: "passage" }, text, el("figcaption", {}, citeButton(whole(passage), number)));
}

export function fail(message) {
  section.append(el("p", { class: "notice", role: "alert" }, message));
}

/** In one sentence, for those who hear the page. */
export function summary(answer) {
  if (answer.abstained) return "Your documents do not seem to answer this.";
  const documents = new Set(answer.claims.flatMap((claim) => claim.citations.map((citation) => citation.document)));
  return `${plural(answer.claims.length, answer.mode === "generate" ? "statement" : "quotation")} from ${plural(documents.size, "document")}.`;
}
