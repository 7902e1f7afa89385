// The page holds its data. While the run goes on the file is rewritten, and the page loads itself into a hidden frame
// that hands the new data over: a page on a disk may not read files, but it may open itself.
const $ = (id) => document.getElementById(id);
const own = () => JSON.parse($("data").textContent);
if (location.hash === "#data" && parent !== window) parent.postMessage({ ownlm: own() }, "*");
else start();

function start() {
  const keep = (name, value) => { try { localStorage.setItem(`ownlm-${name}`, value); } catch { /* no storage: nothing is kept */ } };
  const kept = (name) => { try { return localStorage.getItem(`ownlm-${name}`); } catch { return null; } };
  let data = own(), frame = null, charts = [];

  const themes = ["system", "light", "dark"];
  let theme = themes.includes(kept("theme")) ? kept("theme") : "system";
  const dress = () => {
    if (theme === "system") delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = theme;
    $("theme").textContent = `Theme: ${theme}`;
  };
  $("theme").onclick = () => { theme = themes[(themes.indexOf(theme) + 1) % 3]; keep("theme", theme); dress(); };
  dress();
  if (kept("smoothing")) $("smoothing").value = kept("smoothing");
  $("log").checked = kept("log") === "1";
  const axes = [...document.getElementsByName("axis")];
  for (const choice of axes) choice.checked = choice.value === (kept("axis") || "step");
  $("smoothing").oninput = () => { keep("smoothing", $("smoothing").value); draw(); };
  $("log").onchange = () => { keep("log", $("log").checked ? "1" : "0"); draw(); };
  for (const choice of axes) choice.onchange = () => { keep("axis", choice.value); draw(); };
  addEventListener("resize", draw);
  addEventListener("message", (event) => {
    if (!frame || event.source !== frame.contentWindow || !event.data.ownlm) return;
    frame.remove(); frame = null;
    if (event.data.ownlm.written === data.written && event.data.ownlm.steps === data.steps) return;
    data = event.data.ownlm; draw();
  });
  setInterval(() => {
    if (data.end || document.hidden) return;
    if (frame) frame.remove();
    frame = document.createElement("iframe"); frame.hidden = true;
    frame.src = `${location.pathname}?${Date.now()}#data`;
    document.body.append(frame);
  }, 5000);
  setInterval(age, 1000);
  draw();

  function draw() {
    charts = [];
    head();
    const axis = axes.find((choice) => choice.checked).value, c = data.columns, x = c[axis];
    const end = { step: data.run.steps, tokens: data.run.steps * data.run.tokens_per_step, elapsed: null }[axis];
    const valid = { x: data.valid[axis], y: data.valid.loss };
    plot("loss", { axis, x, last: end, log: $("log").checked, lines: [{ y: c.loss, kind: "raw", name: "loss" }, { y: smooth(c.loss, Number($("smoothing").value)), kind: "main", name: "smoothed" }], dots: { ...valid, name: "validation" } });
    const f = data.run.forecast && data.run.forecast.bits_per_byte;
    plot("bits", { axis, x: data.valid[axis], last: end, lines: [{ y: data.valid.bits_per_byte, kind: "valid", name: "bits per byte" }], dots: { x: data.valid[axis], y: data.valid.bits_per_byte }, band: f && f.low && { low: f.low, high: f.high, aim: f.value } });
    for (const name of ["lr", "tokens_per_second", "mfu", "grad_norm"]) {
      const rough = name !== "lr";
      plot(name, { axis, x, last: end, zero: name !== "grad_norm", log: name === "grad_norm", robust: rough, lines: rough ? [{ y: c[name], kind: "raw", name }, { y: smooth(c[name], 0.9), kind: "main", name: "smoothed" }] : [{ y: c[name], kind: "main", name }], format: name === "mfu" ? percent : short });
    }
    $("thinned").textContent = data.every > 1 ? `Each point is the mean of ${data.every} steps.` : "";
    forecast(); recipe(); sample(); age();
  }

  function head() {
    const c = data.columns, n = c.step.length - 1, done = data.last_step, total = data.run.steps;
    $("name").textContent = data.run.name;
    const halted = data.end && data.end.stopped;
    $("state").textContent = halted ? "stopped" : data.end ? "finished" : "running";
    $("state").className = `pill ${halted ? "halted" : data.end ? "" : "running"}`;
    $("stopped").hidden = !halted; $("stopped").textContent = halted || "";
    const speed = mean(c.tokens_per_second.slice(-20)), used = mean(c.mfu.slice(-20));
    const spent = last(c.elapsed) || 0, budget = data.run.minutes ? 60 * data.run.minutes : Infinity, share = data.end && !data.end.stopped ? 1 : Math.min(1, Math.max(total ? done / total : 0, spent / budget));
    const left = speed ? Math.min((total - done) * data.run.tokens_per_step / speed, Math.max(0, budget - spent)) : null;
    document.title = `${data.run.name}: ${Math.floor(100 * share)} %`;
    $("track").firstElementChild.style.width = `${100 * share}%`;
    $("track").setAttribute("aria-valuenow", String(Math.round(100 * share)));
    const bits = data.valid.bits_per_byte.filter(Number.isFinite);
    $("mfu").parentElement.hidden = Boolean(data.end) && !c.mfu.some(Number.isFinite);
    const rows = [["Step", done.toLocaleString("en"), data.run.minutes ? "" : `of ${total.toLocaleString("en")}`], data.end ? ["Took", duration(data.end.seconds), ""] : ["Time left", left === null ? "–" : duration(left), ""],
      ["Loss", n < 0 ? "–" : fixed(mean(c.loss.slice(-20)) ?? NaN), ""], ["Bits per byte", bits.length ? fixed(last(bits)) : "–", ""],
      ["Tokens per second", speed ? short(speed) : "–", ""], ["MFU", used ? percent(used) : "–", ""], ["Parameters", short(data.run.parameters), ""]];
    fill($("figures"), rows.map(([name, value, more]) => make("div", make("dt", name), make("dd", value, more && make("small", more)))));
    $("device").textContent = [data.run.device, data.run.precision, data.run.processes > 1 && `${data.run.processes} processes`].filter(Boolean).join(", ");
  }

  function forecast() {
    const f = data.run.forecast, e = data.end || {}, a = e.forecast || {};
    $("forecast-card").hidden = !f;
    if (!f) return;
    const spent = last(data.columns.elapsed) || 0, bits = data.valid.bits_per_byte.filter(Number.isFinite);
    const one = (name, write, now) => f[name] && [name === "bits_per_byte" ? "bits per byte" : name === "seconds" ? "time" : "memory", write(f[name].value) + (f[name].low ? `\n${write(f[name].low)} to ${write(f[name].high)}` : ""), a[name] ? write(a[name].actual) : now === null ? "–" : `${write(now)}\nso far`, a[name] ? signed(a[name].off) : ""];
    const rows = [one("seconds", duration, spent), one("memory", bytes, null), one("bits_per_byte", fixed, bits.length ? last(bits) : null)].filter(Boolean);
    fill($("forecast"), [row("th", ["", "forecast", "actual", "off by"], "col"), ...rows.map((cells) => row("td", cells))]);
    $("basis").textContent = f.basis || "";
  }

  function recipe() {
    const write = (value) => (typeof value === "string" ? value : typeof value === "number" ? String(Number(value.toPrecision(6))) : JSON.stringify(value));
    const rows = data.recipe.map(([name, value]) => row("td", [name, write(value)])), half = Math.ceil(rows.length / 2);
    fill($("recipe"), [rows.slice(0, half), rows.slice(half)].map((part) => make("table", ...part)));
  }
  function sample() {
    $("samples-card").hidden = !data.sample;
    if (data.sample) { $("sample").textContent = data.sample.text; $("sample-step").textContent = `after step ${data.sample.step.toLocaleString("en")}`; }
  }
  function age() {
    const seconds = Math.max(0, Math.round(Date.now() / 1000 - data.written));
    $("written").textContent = data.end ? new Date(data.written * 1000).toLocaleString() : `updated ${duration(seconds)} ago`;
  }

  function plot(id, { axis, x, lines, dots, band, last: end, log, zero, robust, format = short }) {
    const box = $(id), wide = box.clientWidth, high = box.clientHeight;
    const values = [...lines.flatMap((line) => line.y), ...(dots ? dots.y : [])].filter((v) => Number.isFinite(v) && (!log || v > 0));
    if (!values.length) { fill(box, []); return; }
    let [low, top] = robust ? quantiles(values) : [Math.min(...values), Math.max(...values)];
    if (band) { low = Math.min(low, band.low); top = Math.max(top, band.high); }
    if (zero) low = Math.min(0, low);
    const flatten = log ? Math.log10 : (v) => v, unflatten = log ? (v) => 10 ** v : (v) => v;
    low = flatten(low); top = flatten(top);
    if (top - low < 1e-12) { top += Math.abs(top) * 0.05 || 1; if (!zero) low -= Math.abs(low) * 0.05 || 1; }
    const air = (top - low) * 0.05; top += air; if (!zero) low -= air;
    const known = x.concat(dots ? dots.x : []), first = Math.min(...known, axis === "step" ? 1 : 0), final = Math.max(...known, end && known.length < 2 ? end : 0, first + 1e-9);
    const left = 46, right = 8, above = 8, below = 20;
    const px = (v) => left + (v - first) / (final - first) * (wide - left - right), py = (v) => above + (top - Math.min(Math.max(flatten(v), low), top)) / (top - low) * (high - above - below);
    const svg = shape("svg", { viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": `${box.previousElementSibling ? box.previousElementSibling.textContent.trim() : id}; now ${format(last(lines[0].y.filter(Number.isFinite)))}` });
    for (const tick of log ? logTicks(low, top, high > 260 ? 6 : 4) : ticks(low, top, high > 260 ? 6 : 4)) {
      const y = above + (top - tick) / (top - low) * (high - above - below);
      svg.append(shape("line", { class: "rule", x1: left, x2: wide - right, y1: y, y2: y }), label(left - 8, y + 4, "end", format(unflatten(tick))));
    }
    for (const tick of ticks(first, final, wide > 600 ? 7 : 4)) svg.append(label(px(tick), high - 4, "middle", axis === "elapsed" ? duration(tick) : short(tick)));
    if (band) {
      svg.append(shape("rect", { class: "band", x: left, width: Math.max(0, wide - left - right), y: py(band.high), height: Math.max(1, py(band.low) - py(band.high)) }), shape("path", { class: "aim", d: `M${left},${py(band.aim)}H${wide - right}` }), label(wide - right, py(band.aim) - 4, "end", "forecast"));
    }
    for (const line of lines) svg.append(shape("path", { class: line.kind, d: path(x, line.y, px, py, log) }));
    if (dots) dots.x.forEach((v, i) => { if (Number.isFinite(dots.y[i])) svg.append(shape("circle", { class: "dot", r: dots.x.length > 60 ? 1.5 : 2.5, cx: px(v), cy: py(dots.y[i]) })); });
    const cross = shape("line", { class: "cross", y1: above, y2: high - below, x1: 0, x2: 0, visibility: "hidden" });
    svg.append(cross);
    charts.push({ x, px, cross });
    svg.onpointermove = (event) => point(event, x, first + (event.offsetX - left) / (wide - left - right) * (final - first), axis, lines, dots, format);
    svg.onpointerleave = () => { $("tip").hidden = true; for (const chart of charts) chart.cross.setAttribute("visibility", "hidden"); };
    fill(box, [svg]);
  }

  function point(event, x, wanted, axis, lines, dots, format) {
    const i = nearest(x, wanted);
    if (i < 0) return;
    const said = [axis === "elapsed" ? duration(x[i]) : `${axis === "step" ? "step" : "tokens"} ${Math.round(x[i]).toLocaleString("en")}`];
    for (const line of lines) if (Number.isFinite(line.y[i])) said.push(`${line.name.replaceAll("_", " ")} ${format === percent ? percent(line.y[i]) : precise(line.y[i])}`);
    const j = dots && dots.name ? nearest(dots.x, x[i]) : -1;
    if (j >= 0 && Number.isFinite(dots.y[j])) said.push(`${dots.name} ${precise(dots.y[j])}`);
    const tip = $("tip");
    tip.textContent = said.join("\n"); tip.hidden = false;
    tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${Math.max(8, event.clientY - tip.offsetHeight - 10)}px`;
    for (const chart of charts) { const at = nearest(chart.x, x[i]); if (at < 0) continue; const here = chart.px(chart.x[at]); for (const side of ["x1", "x2"]) chart.cross.setAttribute(side, here); chart.cross.setAttribute("visibility", "visible"); }
  }
}
