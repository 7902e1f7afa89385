// What was asked before, from the ledger.

import { get } from "./api.js";
import * as answer from "./answer.js";
import { leaveStart, say } from "./ask.js";
import { byId, el } from "./dom.js";
import * as panel from "./panel.js";

const PAGE = 50;
const time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long", year: "numeric" });

export async function openHistory() {
  if (panel.isShown("history")) return panel.close();
  const list = el("div", { class: "history" });
  panel.open({ kind: "history", title: "History", note: "", body: [list] });
  await more(list, 0, "");
}

async function more(list, offset, lastDay) {
  let page;
  try {
    page = await get(`/api/ledger?limit=${PAGE}&offset=${offset}`);
  } catch (error) {
    list.append(el("p", { class: "notice", role: "alert" }, error.message));
    return;
  }
  if (page.total === 0) list.append(el("p", { class: "empty" }, "Questions that you ask are kept here, with what was read for each."));
  let group = list.querySelector("ul:last-of-type");
  for (const entry of page.entries) {
    const moment = new Date(entry.created * 1000);
    const heading = day.format(moment);
    if (heading !== lastDay || !group) {
      list.append(el("h3", {}, heading));
      group = el("ul", { class: "plain" });
      list.append(group);
      lastDay = heading;
    }
    group.append(el("li", {}, el("button", { type: "button", class: "entry", onclick: () => show(entry.id) },
      el("span", { class: "entry-question" }, entry.question),
      el("span", { class: "entry-when" }, time.format(moment)))));
  }
  const next = offset + page.entries.length;
  if (next < page.total && page.entries.length) {
    const button = el("button", { type: "button", class: "more", onclick: () => { button.remove(); more(list, next, lastDay); } }, "Earlier questions");
    list.append(button);
  }
}

async function show(id) {
  try {
    const entry = await get(`/api/ledger/${encodeURIComponent(id)}`);
    leaveStart();
    answer.begin(entry.question);
    for (const claim of entry.answer.claims) {
      if (entry.answer.mode === "generate") answer.addStatement(claim, entry.answer.passages);
      else answer.addClaim(claim);
    }
    const moment = new Date(entry.created * 1000);
    answer.finish(entry.answer, { when: `${day.format(moment)}, ${time.format(moment)}` });
    say(answer.summary(entry.answer), { shown: false });
    if (panel.covers()) panel.close();
    byId("main").scrollTop = 0;
  } catch (error) {
    byId("panel-body").prepend(el("p", { class: "notice", role: "alert" }, error.message));
  }
}
