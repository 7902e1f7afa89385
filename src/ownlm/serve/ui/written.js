// An answer that a model wrote: its words as they come, then each statement with the numbers of its sources.

import { citeButton, numberButton, removed, wasRemoved, whole } from "./cite.js";
import { byId, el } from "./dom.js";

const PART = /([“"„«]([^“”"„«»]*)[”"»])|\[(\d{1,6})\]/g;
const VERDICTS = {
  not_checked: ["not checked", "That the source says this has not been checked."],
  unsupported: ["unsupported", "No source is named for this."],
  contradicted: ["contradicted", "A source says otherwise."],
};

let draft = null;

/** The text while it is being written. What it cites cannot be opened yet. */
export function write(piece) {
  if (!draft?.isConnected) {
    draft = el("p", { class: "said draft" });
    byId("answer").append(draft);
  }
  draft.append(piece);
}

/** The text stays as far as it came, or goes because what it says comes again, with its sources. */
export function endDraft({ keep }) {
  if (keep) draft?.classList.add("broken");
  else draft?.remove();
  draft = null;
}

/** A statement: the model's words, exact quotations among them set apart, numbers that open what they stand for. */
export function statement(claim, passages) {
  const [verdict, meaning] = VERDICTS[claim.verdict] ?? [];
  const mark = verdict ? el("span", { class: `verdict ${claim.verdict}`, title: meaning }, verdict) : "";
  const text = claim.citations.some(wasRemoved) ? removed() : el("p", { class: "said" }, ...parts(claim, passages), " ", mark);
  return el("div", { class: "statement" }, text);
}

function parts(claim, passages) {
  const nodes = [];
  let at = 0;
  let quote = "";
  for (const found of claim.text.matchAll(PART)) {
    nodes.push(claim.text.slice(at, found.index));
    const number = Number(found[3]);
    const cited = number ? cites(claim, passages[number - 1], quote) : null;
    if (cited) nodes.push(numberButton(cited, number));
    else nodes.push(found[1] ? el("span", { class: "exact" }, found[1]) : found[0]);
    quote = found[1] ? found[2].trim() : "";
    at = found.index + found[0].length;
  }
  return [...nodes, claim.text.slice(at)];
}

/** What a number stands for: the quotation before it, else what is cited of that passage, else all of it. */
function cites(claim, passage, quote) {
  if (!passage) return null;
  const inside = claim.citations.filter((each) =>
    each.document === passage.document && each.start >= passage.start && each.end <= passage.end);
  return inside.find((each) => quote && each.quote === quote) ?? inside[0] ?? whole(passage);
}

/** The passages that the statements name, by number. */
export function sources(claims, passages) {
  const numbers = new Set(claims.flatMap((claim) => [...claim.text.matchAll(/\[(\d{1,6})\]/g)].map((found) => Number(found[1]))));
  const named = [...numbers].sort((a, b) => a - b).filter((number) => passages[number - 1]);
  if (!named.length) return "";
  return el("ol", { class: "sources", "aria-label": "Sources" },
    ...named.map((number) => el("li", {}, citeButton(whole(passages[number - 1]), number))));
}
