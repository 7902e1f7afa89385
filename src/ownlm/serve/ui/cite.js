// A citation as a button: it opens the source with the cited span marked and in view.

import { byId, el, fileName } from "./dom.js";
import { setScope } from "./scope.js";
import { openSource } from "./source.js";

/** Title, heading and page, as far as they are known. */
export function place(cited) {
  const heading = cited.heading?.length ? cited.heading[cited.heading.length - 1] : "";
  const title = cited.title || fileName(cited.document);
  return [title, heading === title ? "" : heading, cited.page ? `page\u00a0${cited.page}` : ""].filter(Boolean);
}

/** The ledger keeps the digest of what it quoted from a document that was removed, and not its words. */
export const wasRemoved = (span) => span.sha256 !== undefined;
export const removed = () => el("blockquote", { class: "redacted" }, "This text was removed together with its document.");

/** A passage as a citation of all of it. */
export const whole = (passage) => ({ ...passage, quote: passage.text });

function show(button, citation) {
  for (const other of byId("answer").querySelectorAll("[aria-current]")) other.removeAttribute("aria-current");
  button.setAttribute("aria-current", "true");
  openSource(wasRemoved(citation) ? { document: citation.document } : citation, { onScope: setScope });
}

/** By title and place; `number` is what the text calls it. */
export function citeButton(citation, number) {
  const [title, ...where] = place(citation);
  const button = el("button", { type: "button", class: "cite", title: citation.document, onclick: () => show(button, citation) },
    number ? el("span", { class: "cite-number" }, `[${number}]`) : "",
    el("span", { class: "cite-title" }, title),
    ...where.map((part) => el("span", { class: "cite-where" }, part)));
  return button;
}

/** By its number alone, inside a sentence. */
export function numberButton(citation, number) {
  const label = `Source ${number}: ${place(citation).join(", ")}`;
  const button = el("button", { type: "button", class: "number", "aria-label": label, title: place(citation).join(" · "), onclick: () => show(button, citation) }, `[${number}]`);
  return button;
}
