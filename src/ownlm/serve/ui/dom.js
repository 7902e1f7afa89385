// Elements from text. Nothing here or elsewhere on the page parses HTML: text stays text.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/** An element with properties, `class`, attributes (aria-*, role, data-*) and children (nodes or strings). */
export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name in node && typeof value !== "string") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

/** A button that shows an icon alone. */
export function iconButton(name, label, onclick, more = "") {
  return el("button", { type: "button", class: `icon ${more}`, "aria-label": label, title: label, onclick }, icon(name));
}

export function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString()} ${count === 1 ? one : many}`;
}

/** Reasons and notes come as parts of a sentence. */
export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** The last part of a document's name, which is a path. */
export function fileName(name) {
  return name.split(/[\\/]/).pop() || name;
}

/** Offsets count characters (code points); JavaScript's strings count UTF-16 units. */
export class Characters {
  constructor(text) {
    this.text = text;
    this.points = /[\ud800-\udfff]/.test(text) ? Array.from(text) : null;
    this.length = this.points ? this.points.length : text.length;
  }

  slice(start, end) {
    return this.points ? this.points.slice(start, end).join("") : this.text.slice(start, end);
  }

  /** The offset, in characters, of `part`, or -1. */
  indexOf(part) {
    const unit = this.text.indexOf(part);
    return unit <= 0 || !this.points ? unit : Array.from(this.text.slice(0, unit)).length;
  }
}
