// Asks for the API key, once for however many requests wait for it.

import { byId } from "./dom.js";

let asking = null;

export function askForKey(wasWrong) {
  asking ??= new Promise((resolve) => {
    const dialog = byId("key");
    const input = byId("key-input");
    if (wasWrong) byId("key-text").textContent = "That key is not right. Enter the one that the server was started with.";
    input.value = "";
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.addEventListener("close", () => {
      asking = null;
      resolve(input.value.trim());
    }, { once: true });
    dialog.showModal();
    input.focus();
  });
  return asking;
}
