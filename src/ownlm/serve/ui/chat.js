// A conversation with the writer: sent, streamed, stopped, begun anew. It is kept nowhere but on this page.

import { events } from "./api.js";
import { byId, icon } from "./dom.js";
import { Message } from "./message.js";
import { view } from "./view.js";
import { measure, theWriter } from "./writer.js";

const NEAR = 80;
const ENDS = { length: "It ends here because the model has no room for more." };

const main = byId("main");
const box = byId("message");
const send = byId("message-send");
const status = byId("chat-status");
const messages = byId("messages");
let turns = [];
let running = null;

function fit() {
  box.style.height = "auto";
  box.style.height = `${Math.min(box.scrollHeight, 220)}px`;
}

function settle() {
  send.replaceChildren(icon(running ? "stop" : "send"));
  send.setAttribute("aria-label", running ? "Stop" : "Send");
  send.disabled = !running && !box.value.trim();
  byId("chat-form").classList.toggle("busy", running !== null);
  byId("chat-start").hidden = messages.childElementCount > 0;
  byId("chat-new").disabled = messages.childElementCount === 0;
  messages.setAttribute("aria-busy", String(running !== null));
}

function write(text) {
  box.value = text;
  fit();
  settle();
}

/** Do it, and stay at the end of the conversation if that is where the reader is. */
function following(change) {
  const follows = view() === "chat" && main.scrollHeight - main.scrollTop - main.clientHeight < NEAR;
  change();
  if (follows) main.scrollTop = main.scrollHeight;
}

async function talk(text) {
  const mine = new AbortController();
  const asked = new Message("user", text);
  const reply = new Message("assistant");
  const said = { role: "user", content: text };
  running = mine;
  for (const notice of messages.querySelectorAll(".notice")) notice.remove();
  messages.append(asked.node, reply.node);
  write("");
  main.scrollTop = main.scrollHeight;
  status.textContent = "Reading…";
  let note = "";
  try {
    const body = { model: theWriter().name, messages: [...turns, said], stream: true };
    for await (const [, chunk] of events("/v1/chat/completions", body, mine.signal)) {
      const choice = chunk?.choices?.[0];
      if (!choice) continue;
      const { content, reasoning_content: thought } = choice.delta;
      if (content) status.textContent = "Writing…";
      else if (thought) status.textContent = "Thinking…";
      following(() => {
        if (thought) reply.think(thought);
        if (content) reply.write(content);
      });
      note = ENDS[choice.finish_reason] ?? note;
    }
    if (!reply.text) note ||= "The model wrote nothing.";
  } catch (error) {
    if (running !== mine) return; // another conversation has begun
    note = error.name === "AbortError" ? "Stopped." : error.message;
    if (!reply.text) return takeBack(asked, reply, text, note);
  } finally {
    if (running === mine) running = null;
    settle();
    measure();
  }
  turns.push(said, { role: "assistant", content: reply.text });
  following(() => note && reply.note(note));
  status.textContent = "";
}

/** What was not answered at all goes back to where it was typed. */
function takeBack(asked, reply, text, why) {
  asked.node.remove();
  reply.node.remove();
  const notice = new Message("notice", why).node;
  notice.setAttribute("role", "alert");
  messages.append(notice);
  status.textContent = "";
  if (!box.value) write(text);
}

/** Stop what the model is writing; whether there was anything to stop. */
export function stopTalking() {
  running?.abort();
  return running !== null;
}

function begin() {
  running?.abort();
  running = null;
  turns = [];
  messages.replaceChildren();
  status.textContent = "";
  settle();
  box.focus();
}

byId("chat-new").addEventListener("click", begin);
byId("chat-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = box.value.trim();
  if (running) stopTalking();
  else if (text) talk(text);
});
box.addEventListener("input", () => { fit(); settle(); });
box.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  if (!running) byId("chat-form").requestSubmit();
});
settle();
