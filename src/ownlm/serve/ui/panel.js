// The one panel beside the answer: a source, the documents or the history. Esc closes it.

import { byId } from "./dom.js";

const panel = byId("panel");
const narrow = matchMedia("(max-width: 60rem)");
let shown = null;
let openedFrom = null;

/** Show a panel. `view` is { kind, title, note, tools, body, opener }; nodes go in as they are. */
export function open(view) {
  if (!shown) openedFrom = document.activeElement;
  shown?.onclose?.();
  shown = view;
  byId("panel-title").textContent = view.title;
  byId("panel-note").textContent = view.note ?? "";
  byId("panel-tools").replaceChildren(...(view.tools ?? []));
  byId("panel-body").replaceChildren(...(view.body ?? []));
  byId("panel-body").scrollTop = 0;
  panel.dataset.kind = view.kind;
  panel.hidden = false;
  document.body.classList.add("has-panel");
  settle();
  byId("panel-title").focus({ preventScroll: true });
}

export function close() {
  if (!shown) return;
  shown.onclose?.();
  shown = null;
  panel.hidden = true;
  document.body.classList.remove("has-panel");
  settle();
  if (openedFrom?.isConnected) openedFrom.focus({ preventScroll: true });
}

/** Whether the panel covers the whole page, as on a phone. */
export const covers = () => narrow.matches;

export const isShown = (kind) => shown !== null && (kind === undefined || shown.kind === kind);

/** Mark the buttons, and on a narrow screen, where the panel covers the page, take the page out of reach. */
function settle() {
  for (const kind of ["documents", "history"]) {
    byId(`open-${kind}`).setAttribute("aria-expanded", String(isShown(kind)));
  }
  byId("main").inert = shown !== null && narrow.matches;
}

narrow.addEventListener("change", settle);
byId("panel-close").addEventListener("click", close);
