"use strict";
// Arithmetic and elements of the page.
function smooth(values, keep) {
  // The mean of an exponential mean from the left and one from the right: it does not lag behind a slope. Each is
  // corrected at its start, as Adam corrects its moments.
  const pass = (list) => { let sum = 0, weight = 0; return list.map((v) => { if (!Number.isFinite(v)) return null; sum = keep * sum + (1 - keep) * v; weight = keep * weight + 1 - keep; return sum / weight; }); };
  const right = pass([...values].reverse()).reverse();
  return pass(values).map((v, i) => (v === null ? null : (v + right[i]) / 2));
}
function quantiles(values) {
  const sorted = [...values].sort((a, b) => a - b), at = (share) => sorted[Math.round(share * (sorted.length - 1))];
  return [at(0.005), at(0.995)];
}
function path(x, y, px, py, log) {
  let d = "", broken = true;
  for (let i = 0; i < x.length; i++) {
    if (!Number.isFinite(y[i]) || (log && y[i] <= 0)) { broken = true; continue; }
    d += `${broken ? "M" : "L"}${px(x[i]).toFixed(1)},${py(y[i]).toFixed(1)}`; broken = false;
  }
  return d;
}
function ticks(low, high, wanted) {
  const rough = (high - low) / wanted, power = 10 ** Math.floor(Math.log10(rough)), step = power * [1, 2, 5, 10].find((k) => k * power >= rough), found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(i * step);
  return found;
}
function logTicks(low, high, wanted) {
  if (high - low < 1) return ticks(10 ** low, 10 ** high, wanted).filter((v) => v > 0).map(Math.log10);
  const found = [];
  for (let power = Math.floor(low); power <= high; power++) for (const k of high - low < 3 ? [1, 3] : [1]) { const at = power + Math.log10(k); if (at >= low && at <= high) found.push(at); }
  return found;
}
function nearest(x, wanted) {
  if (!x.length) return -1;
  let low = 0, high = x.length - 1;
  while (high - low > 1) { const middle = (low + high) >> 1; if (x[middle] < wanted) low = middle; else high = middle; }
  return Math.abs(x[low] - wanted) <= Math.abs(x[high] - wanted) ? low : high;
}
const last = (values) => values[values.length - 1];
const mean = (values) => { const real = values.filter(Number.isFinite); return real.length ? real.reduce((a, b) => a + b, 0) / real.length : null; };
const fixed = (v) => v.toFixed(Math.abs(v) < 10 ? 3 : 2);
const precise = (v) => (v !== 0 && Math.abs(v) < 0.01 ? v.toExponential(2) : Number(v.toPrecision(4)).toLocaleString("en"));
const percent = (v) => `${(100 * v).toFixed(v > 0 && v < 0.1 ? 1 : 0)} %`;
const signed = (v) => `${v >= 0 ? "+" : "−"}${(100 * Math.abs(v)).toFixed(1)} %`;
function short(v) {
  const size = Math.abs(v);
  for (const [unit, name] of [[1e9, "B"], [1e6, "M"], [1e3, "k"]]) if (size >= unit) return `${Number((v / unit).toPrecision(3))}${name}`;
  return size !== 0 && size < 0.001 ? v.toExponential(0).replace("e-", "e−") : String(Number(v.toPrecision(3)));
}
function bytes(v) {
  for (const [unit, name] of [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]]) if (v >= unit) return `${Number((v / unit).toPrecision(3))} ${name}`;
  return `${v} B`;
}
function duration(seconds) {
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s`;
  return `${Math.floor(s / 3600)} h ${String(Math.floor(s % 3600 / 60)).padStart(2, "0")} min`;
}
function make(tag, ...parts) { const made = document.createElement(tag); made.append(...parts.filter(Boolean)); return made; }
function row(tag, cells, scope) { const made = make("tr"); cells.forEach((cell, i) => { const kind = scope || i === 0 ? "th" : tag, part = make(kind, String(cell)); if (kind === "th") part.setAttribute("scope", scope || "row"); made.append(part); }); return made; }
function fill(parent, children) { parent.replaceChildren(...children); }
function shape(tag, attributes) { const made = document.createElementNS("http://www.w3.org/2000/svg", tag); for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value); return made; }
function label(x, y, anchor, text) { const made = shape("text", { x, y, "text-anchor": anchor }); made.textContent = text; return made; }
