// One message of a conversation. Whatever the model writes stays text; lines between ``` fences are set as code.

import { el } from "./dom.js";

const WHO = { user: "You", assistant: "The model" };
const FENCE = /^ {0,3}```.*$/m;

export class Message {
  constructor(role, text = "") {
    this.role = role;
    this.text = "";
    this.thought = "";
    this.body = el("div", { class: "message-text" });
    this.thoughts = el("p", { class: "thought-text" });
    this.thinking = el("details", { class: "thought", hidden: true }, el("summary", {}, "Thinking"), this.thoughts);
    this.node = el("article", { class: `message ${role}`, "aria-label": WHO[role] }, this.thinking, this.body);
    if (text) this.write(text);
  }

  /** A piece of the answer. */
  write(piece) {
    this.text += piece;
    if (this.thought) this.thinking.firstChild.textContent = "Thoughts";
    if (this.role === "assistant" && this.text.includes("```")) this.body.replaceChildren(...blocks(this.text));
    else this.body.append(piece);
  }

  /** A piece of what the model thinks before it answers. */
  think(piece) {
    const more = this.thought ? piece : piece.trimStart();
    if (!more) return;
    this.thought += more;
    this.thinking.hidden = false;
    this.thoughts.append(more);
  }

  /** What the reader should know of how it ended. */
  note(text) {
    this.node.append(el("p", { class: "message-note" }, text));
  }
}

/** Prose and code in turn. A fence that is still open reaches to the end. */
function blocks(text) {
  const nodes = [];
  for (let code = false, rest = text; rest; code = !code) {
    const fence = FENCE.exec(rest);
    const part = (fence ? rest.slice(0, fence.index) : rest).replace(/^\n+|\n+$/g, "");
    if (part) nodes.push(el(code ? "pre" : "div", code ? { tabindex: "0", "aria-label": "Code" } : {}, part));
    rest = fence ? rest.slice(fence.index + fence[0].length) : "";
  }
  return nodes;
}
