"use strict";
/* The timeline: one lane per resource, drawn on a canvas; drag moves, buttons and Ctrl + wheel zoom. */
(() => {
  const canvas = document.getElementById("timeline-canvas");
  if (!canvas) return;
  const state = JSON.parse(document.getElementById("timeline-data").textContent);
  const array = (text, Type) => new Type(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const start = array(state.start, Float32Array), length = array(state.length, Float32Array);
  const lane = array(state.lane, Uint16Array), kind = array(state.kind, Uint8Array), part = array(state.part, Uint16Array);
  const critical = array(state.critical, Uint8Array);
  const context = canvas.getContext("2d"), total = state.total_s;
  const isPhone = innerWidth < 640;
  const LEFT = isPhone ? 64 : 128, TOP = 26;
  let from = 0, to = 1, isAll = state.num_main === state.lanes.length;

  const rows = () => (isAll ? state.lanes.length : state.num_main);
  const laneHeight = () => Math.max(isPhone ? 14 : 16, Math.min(34, 420 / rows()));
  const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const width = () => canvas.clientWidth - LEFT - 8;
  const x = (share) => LEFT + ((share - from) / (to - from)) * width();
  function seconds(value) {
    const [unit, factor] = total * (to - from) >= 2 ? ["s", 1] : total * (to - from) >= 2e-3 ? ["ms", 1e3] : ["µs", 1e6];
    return `${Number((value * factor).toPrecision(5))} ${unit}`;
  }
  function ticks() {
    const span = total * (to - from), raw = span / Math.max(2, Math.floor(width() / 110));
    const base = 10 ** Math.floor(Math.log10(raw));
    const step = base * [1, 2, 5, 10].find((m) => base * m >= raw);
    const out = [];
    for (let i = Math.ceil((from * total) / step); i * step <= to * total + 1e-15; i++) out.push(i * step);
    return out;
  }
  function draw() {
    const ratio = devicePixelRatio || 1, height = TOP + rows() * laneHeight() + 4;
    canvas.style.height = `${height}px`;
    canvas.width = canvas.clientWidth * ratio;
    canvas.height = height * ratio;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, canvas.clientWidth, height);
    context.font = `12px ${getComputedStyle(document.body).fontFamily}`;
    context.textBaseline = "middle";
    for (const time of ticks()) {
      const at = x(time / total);
      context.fillStyle = ink("--line");
      context.fillRect(at, TOP - 4, 1, height);
      context.fillStyle = ink("--muted");
      context.textAlign = at > canvas.clientWidth - 40 ? "right" : "center";
      context.fillText(seconds(time), Math.min(at, canvas.clientWidth - 4), 11);
    }
    context.textAlign = "left";
    for (let i = 0; i < rows(); i++) {
      context.fillStyle = ink("--soft");
      context.fillRect(LEFT, TOP + i * laneHeight() + 1, width(), laneHeight() - 2);
      if (laneHeight() >= 11) {
        context.fillStyle = ink("--muted");
        context.fillText(isPhone ? state.lanes[i].replace("stage ", "st. ") : state.lanes[i], 8, TOP + (i + 0.5) * laneHeight(), LEFT - 14);
      }
    }
    context.save();
    context.beginPath();
    context.rect(LEFT, 0, width(), height);
    context.clip();
    drawTasks();
    context.restore();
  }
  function drawTasks() {
    const scale = width() / (to - from), high = laneHeight() - 3, dark = ink("--ink");
    for (let i = 0; i < start.length; i++) {
      if (lane[i] >= rows() || start[i] > to || start[i] + length[i] < from) continue;
      const left = x(start[i]), wide = length[i] * scale, top = TOP + lane[i] * laneHeight() + 1.5;
      context.fillStyle = state.kinds[kind[i]].colour;
      context.fillRect(left, top, Math.max(wide - (wide > 3 ? 1 : 0), 0.6), high);
      if (critical[i] && wide > 1) {
        context.fillStyle = dark;
        context.fillRect(left, top + high - 2, Math.max(wide - (wide > 3 ? 1 : 0), 0.6), 2);
      }
      if (wide > 24 && high > 12 && lane[i] < state.num_main) {
        context.fillStyle = "#ffffff";
        context.textAlign = "center";
        context.fillText(part[i], left + wide / 2, top + high / 2 + 0.5, wide - 4);
        context.textAlign = "left";
      }
    }
  }
  function zoom(factor, at = 0.5) {
    const center = from + at * (to - from), span = Math.min(1, Math.max(1e-5, (to - from) * factor));
    from = Math.max(0, Math.min(1 - span, center - at * span));
    to = from + span;
    draw();
  }
  function move(share) {
    const span = to - from;
    from = Math.max(0, Math.min(1 - span, from + share * span));
    to = from + span;
    draw();
  }
  function taskAt(px, py) {
    const row = Math.floor((py - TOP) / laneHeight()), share = from + ((px - LEFT) / width()) * (to - from);
    for (let i = 0; i < start.length; i++) {
      if (lane[i] === row && start[i] <= share && share <= start[i] + length[i]) return i;
    }
    return -1;
  }
  let held = null;
  canvas.addEventListener("pointerdown", (event) => { held = event.clientX; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointerup", () => { held = null; });
  canvas.addEventListener("pointermove", (event) => {
    if (held !== null) {
      move((held - event.clientX) / width());
      held = event.clientX;
      return;
    }
    const box = canvas.getBoundingClientRect(), task = taskAt(event.clientX - box.left, event.clientY - box.top);
    if (task < 0) return showTip("", 0, 0);
    const where = critical[task] ? `${state.lanes[lane[task]]}, on the critical path` : state.lanes[lane[task]];
    const words = `${state.kinds[kind[task]].name}, microbatch ${part[task]}\n${where}`;
    showTip(`${words}\n${seconds(start[task] * total)} + ${seconds(length[task] * total)}`, event.clientX, event.clientY);
  });
  canvas.addEventListener("pointerleave", () => showTip("", 0, 0));
  canvas.addEventListener("dblclick", (event) => zoom(0.5, (event.offsetX - LEFT) / width()));
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1.25 : 0.8, (event.offsetX - LEFT) / width());
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const actions = { ArrowLeft: () => move(-0.2), ArrowRight: () => move(0.2), "+": () => zoom(0.6), "-": () => zoom(1.6), "0": () => zoom(1e9) };
    if (actions[event.key]) { event.preventDefault(); actions[event.key](); }
  });
  for (const button of document.querySelectorAll("button[data-zoom]")) {
    button.addEventListener("click", () => zoom(Number(button.dataset.zoom)));
  }
  const all = document.getElementById("timeline-all");
  if (all) all.addEventListener("click", () => { isAll = !isAll; all.setAttribute("aria-pressed", isAll); draw(); });
  addEventListener("themed", draw);
  addEventListener("resize", draw);
  draw();
})();
