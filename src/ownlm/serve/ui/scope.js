// Which documents a question is asked of: all, or one.

import { byId, fileName } from "./dom.js";
import { show } from "./view.js";

let scope = null;

export const scoped = () => (scope ? [scope.id] : undefined);

export function setScope(document) {
  scope = document;
  byId("scope").hidden = scope === null;
  byId("scope-title").textContent = scope ? scope.title || fileName(scope.name) : "";
  show("ask");
  byId("question").focus();
}

byId("scope-clear").addEventListener("click", () => setScope(null));
