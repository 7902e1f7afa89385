// The question: typed, sent, stopped; the answer as it comes.

import { events } from "./api.js";
import * as answer from "./answer.js";
import { byId, icon } from "./dom.js";
import { scoped } from "./scope.js";
import { show } from "./view.js";
import { measure, mode } from "./writer.js";
import { endDraft, write } from "./written.js";

const STAGES = { retrieving: "Searching your documents", reading: "Reading what was found", writing: "Writing" };

const box = byId("question");
const send = byId("send");
const status = byId("status");
let running = null;
let writing = false;
let last = "";

/** Say where things stand. What the page shows anyway is only for those who hear it. */
export function say(text, { shown = true } = {}) {
  status.textContent = text;
  status.classList.toggle("told", !shown);
}

export function fit() {
  box.style.height = "auto";
  box.style.height = `${Math.min(box.scrollHeight, 220)}px`;
}

function settle() {
  send.replaceChildren(icon(running ? "stop" : "send"));
  send.setAttribute("aria-label", running ? "Stop" : "Ask");
  send.disabled = !running && !box.value.trim();
  byId("ask").classList.toggle("busy", running !== null);
}

/** Show the page with an answer on it instead of the greeting. */
export function leaveStart() {
  show("ask");
  byId("main").classList.remove("start");
  byId("welcome").hidden = true;
}

async function ask(question) {
  running?.abort();
  const mine = new AbortController();
  running = mine;
  settle();
  leaveStart();
  answer.begin(question);
  say(`${STAGES.retrieving}…`);
  const body = { question, documents: scoped(), mode: mode() };
  writing = body.mode === "generate";
  let passages = [];
  try {
    for await (const [name, data] of events("/api/ask", body, mine.signal)) {
      if (name === "stage") say(`${STAGES[data.stage] ?? data.stage}…`);
      else if (name === "text") write(data.text);
      else if (name === "passages") {
        passages = data.passages;
        endDraft({ keep: false });
      } else if (name === "claim" && writing) answer.addStatement(data, passages);
      else if (name === "claim") answer.addClaim(data);
      else if (name === "done") {
        if (writing) measure();
        answer.finish(data);
        say(answer.summary(data), { shown: false });
        last = question;
        if (box.value.trim() === question) box.value = "";
        fit();
      }
    }
  } catch (error) {
    if (running !== mine) return;
    endDraft({ keep: true });
    say("");
    answer.fail(error.name === "AbortError" ? "Stopped." : error.message);
  } finally {
    if (running === mine) running = null;
    settle();
  }
}

/** Stop what the model is writing; whether there was anything to stop. */
export function stopWriting() {
  if (!running || !writing) return false;
  running.abort();
  return true;
}

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  if (running) return running.abort();
  const question = box.value.trim();
  if (question) ask(question);
});
box.addEventListener("input", () => { fit(); settle(); });
box.addEventListener("keydown", (event) => {
  if (event.key === "ArrowUp" && !box.value && last) {
    event.preventDefault();
    box.value = last;
    box.dispatchEvent(new Event("input"));
  }
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  if (!running) byId("ask").requestSubmit();
});
settle();
