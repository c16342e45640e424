"use strict";
const figures = JSON.parse(document.getElementById("figures").textContent);
const root = document.documentElement;
const ink = (name) => getComputedStyle(root).getPropertyValue(name).trim();

/* Theme: the system's, until the reader chooses. */
const themeButton = document.getElementById("theme");
const dark = matchMedia("(prefers-color-scheme: dark)");
function setTheme(theme) {
  root.dataset.theme = theme;
  themeButton.textContent = theme === "dark" ? "Light" : "Dark";
  drawAll();
  dispatchEvent(new Event("themed"));
}
themeButton.addEventListener("click", () => setTheme(root.dataset.theme === "dark" ? "light" : "dark"));
dark.addEventListener("change", () => setTheme(dark.matches ? "dark" : "light"));

/* Charts: traces and axes come from the page's data, colours from the theme. */
function themed(layout) {
  const axis = { gridcolor: ink("--line"), linecolor: ink("--line"), zerolinecolor: ink("--line"), automargin: true };
  const out = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 12, r: 18, t: 12, b: 12 },
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: ink("--muted") },
    hoverlabel: { bgcolor: ink("--ink"), bordercolor: ink("--ink"), font: { color: ink("--bg") }, align: "left" },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 }, dragmode: false, ...layout,
  };
  for (const name of ["xaxis", "yaxis"]) if (layout[name]) out[name] = { ...axis, ...layout[name] };
  return out;
}
function withInk(value) {
  if (typeof value === "string") return value.startsWith("--") ? ink(value) : value;
  if (Array.isArray(value)) return value.map(withInk);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, withInk(v)]));
  return value;
}
const chosen = {};
function draw(name) {
  const element = document.getElementById(`chart-${name}`);
  if (!element) return;
  const versions = figures[name];
  const figure = versions[chosen[name] || 0];
  const options = { displayModeBar: false, responsive: true };
  Plotly.react(element, withInk(figure.data), themed(withInk(figure.layout)), options);
  if (!element.dataset.ready && name === "tradeoffs") element.on("plotly_click", (event) => pick(event.points[0].customdata));
  element.dataset.ready = "yes";
}
function drawAll() { for (const name of Object.keys(figures)) draw(name); }
for (const button of document.querySelectorAll("button[data-chart]")) {
  button.addEventListener("click", () => {
    const { chart, version } = button.dataset;
    chosen[chart] = Number(version);
    for (const other of document.querySelectorAll(`button[data-chart="${chart}"]`)) other.setAttribute("aria-pressed", other === button);
    draw(chart);
  });
}

/* The table of plans: a click on a title sorts, a click in the plot marks the row. */
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th"), body = head.closest("table").tBodies[0], place = head.cellIndex;
    const isUp = head.getAttribute("aria-sort") !== "ascending";
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", isUp ? "ascending" : "descending");
    const key = (row) => row.cells[place].dataset.key;
    const byNumber = [...body.rows].every((row) => key(row) === "" || !Number.isNaN(Number(key(row))));
    const compare = (a, b) => (byNumber ? Number(key(a)) - Number(key(b)) : key(a).localeCompare(key(b)));
    body.append(...[...body.rows].sort((a, b) => (isUp ? compare(a, b) : compare(b, a))));
  });
}
function pick(place) {
  for (const row of document.querySelectorAll("#plans tbody tr")) row.classList.toggle("picked", Number(row.dataset.place) === place);
}

/* Short explanations under the pointer, for whatever carries data-tip. */
const tip = document.getElementById("tip");
function showTip(text, x, y) {
  tip.textContent = text;
  tip.style.opacity = text ? 1 : 0;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(8, Math.min(x + 14, innerWidth - box.width - 8))}px`;
  tip.style.top = `${y + box.height + 26 > innerHeight ? y - box.height - 12 : y + 16}px`;
}
addEventListener("pointermove", (event) => {
  const marked = event.target.closest && event.target.closest("[data-tip]");
  if (marked) showTip(marked.dataset.tip, event.clientX, event.clientY);
  else if (event.target.tagName !== "CANVAS") showTip("", 0, 0);
});
addEventListener("scroll", () => showTip("", 0, 0), { passive: true });

for (const button of document.querySelectorAll("button[data-copy]")) {
  button.addEventListener("click", () => {
    const range = document.createRange();
    range.selectNodeContents(document.getElementById(button.dataset.copy));
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    button.textContent = document.execCommand("copy") ? "Copied" : "Selected";
  });
}
