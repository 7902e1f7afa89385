// The server, as promises and streams of events. The key, where one is needed, lives as long as the tab.

import { askForKey } from "./key.js";

const KEY = "ownlm-key";

export class Refusal extends Error {
  constructor(status, error) {
    super(error?.message ?? `The server answered with status ${status}`);
    this.status = status;
    this.code = error?.code ?? null;
  }
}

async function request(path, { method = "GET", body, signal, accept = "application/json" } = {}) {
  for (let attempt = 0; ; attempt += 1) {
    const headers = { accept };
    const key = sessionStorage.getItem(KEY);
    if (key) headers.authorization = `Bearer ${key}`;
    if (body !== undefined) headers["content-type"] = "application/json";
    let response;
    try {
      response = await fetch(path, {
        method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body), credentials: "omit",
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refusal(0, { message: "The server does not answer. Is ownlm still running?" });
    }
    if (response.status === 401) {
      sessionStorage.setItem(KEY, await askForKey(attempt > 0 || Boolean(key)));
      continue;
    }
    if (!response.ok) {
      const answer = await response.json().catch(() => ({}));
      throw new Refusal(response.status, answer.error);
    }
    return response;
  }
}

export const get = async (path, options) => (await request(path, options)).json();
export const remove = async (path) => (await request(path, { method: "DELETE", body: {} })).json();

/** POST, and yield each server-sent event as [name, data]. An error event throws. */
export async function* events(path, body, signal) {
  const response = await request(path, { method: "POST", body, signal, accept: "text/event-stream" });
  let waiting = "";
  for await (const part of chunks(response.body.pipeThrough(new TextDecoderStream()))) {
    const blocks = (waiting + part).split("\n\n");
    waiting = blocks.pop();
    for (const block of blocks) {
      const found = parse(block);
      if (!found) continue;
      if (found[0] === "error") throw new Refusal(500, found[1]);
      yield found;
      if (found[0] === "done") return;
    }
  }
  throw broken();
}

const broken = () => new Refusal(0, { message: "The answer broke off: the server stopped while it was sending." });

async function* chunks(stream) {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error) => {
        throw error.name === "AbortError" ? error : broken();
      });
      if (done) return;
      yield value;
    }
  } finally {
    reader.releaseLock();
  }
}

function parse(block) {
  let name = "message";
  let data = "";
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) name = line.slice(7);
    else if (line.startsWith("data: ")) data += line.slice(6);
  }
  if (data === "[DONE]") return ["done", null]; // OpenAI's way
  if (!data) return null;
  const value = JSON.parse(data);
  return name === "message" && value.error ? ["error", value.error] : [name, value];
}
