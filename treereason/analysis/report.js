"use strict";
// The tree of one problem on a canvas: laid out once, drawn for what is in view. All text goes in by textContent.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const canvas = byId("canvas"), pen = canvas.getContext("2d");
const LABEL_ROW = 13, LABEL_FONT = 12, TOP = 14;
const OUTCOMES = { solved: "solved", no: "not solved", failed: "failed", open: "not finished" };
let problem, tree, colours, chosen = -1, view = { x: 0, y: 0, sx: 1, sy: 1 }, size = { w: 1, h: 1 };

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

const line = (text) => text.replace(/\s+/g, " ").trim();
const score = (value) => (value === null ? "" : Math.abs(value) < 100 ? value.toFixed(2) : Math.round(value).toLocaleString("en"));

function pathOf(i) {
  const parts = [];
  for (; i >= 0; i = problem.parent[i]) parts.unshift(...problem.path[i]);
  return parts.join(".");
}

// Node -1 is the problem itself. Rows are given to leaves in order; whoever has children is in their middle.
function layOut(closed) {
  const count = problem.parent.length, showPruned = byId("pruned").checked;
  const children = Array.from({ length: count + 1 }, () => []), wanted = new Uint8Array(count), best = new Uint8Array(count);
  for (let i = problem.best; i >= 0; i = problem.parent[i]) best[i] = 1;
  for (let i = count - 1; i >= 0; i--) {
    if (showPruned || best[i] || data.statuses[problem.status[i]] !== "pruned") wanted[i] = 1;
    if (wanted[i] && problem.parent[i] >= 0) wanted[problem.parent[i]] = 1;
  }
  const all = Array.from({ length: count + 1 }, () => 0);
  for (let i = count - 1; i >= 0; i--) all[problem.parent[i] + 1] += all[i + 1] + 1;
  for (let i = 0; i < count; i++) if (wanted[i]) children[problem.parent[i] + 1].push(i);
  const x = new Float64Array(count + 1), y = new Float64Array(count + 1), shown = [];
  let rows = 0, depth = 0;
  const stack = [[-1, 0, false]];
  while (stack.length) {
    const [i, level, after] = stack.pop(), below = closed.has(i) ? [] : children[i + 1];
    if (after) { y[i + 1] = (y[below[0] + 1] + y[below[below.length - 1] + 1]) / 2; continue; }
    x[i + 1] = level; depth = Math.max(depth, level); shown.push(i);
    if (!below.length) { y[i + 1] = rows++; continue; }
    stack.push([i, level, true]);
    for (let c = below.length - 1; c >= 0; c--) stack.push([below[c], level + 1, false]);
  }
  const levels = [];
  for (const i of shown) (levels[x[i + 1]] ||= []).push(i);
  return { children, best, x, y, shown, rows, depth, all, closed, levels };
}

function leastRow() { return Math.min(LABEL_ROW * 2, Math.max((size.h - 2 * TOP) / Math.max(1, tree.rows), 0.02)); }
function leastColumn() { return Math.max(4, Math.min(190, (size.w - 150) / Math.max(1, tree.depth))); }

function fit() {
  view = { sx: leastColumn(), sy: leastRow(), x: 24, y: TOP };
  if (view.sy * tree.rows < size.h - 2 * TOP) view.y = (size.h - view.sy * (tree.rows - 1)) / 2;
  draw();
}

function place(i) { return [view.x + tree.x[i + 1] * view.sx, view.y + tree.y[i + 1] * view.sy]; }

function zoom(factor, px, py) {
  const row = (py - view.y) / view.sy, column = (px - view.x) / view.sx;
  view.sy = Math.max(leastRow(), Math.min(40, view.sy * factor));
  // Columns widen when labels come up, so that there is room for them.
  const room = Math.max(0, Math.min(1, (view.sy - 6) / (LABEL_ROW - 6)));
  view.sx = Math.max(leastColumn(), room * 170 + (1 - room) * leastColumn());
  view.y = py - row * view.sy; view.x = px - column * view.sx;
  keepInView(); draw();
}

function zoomAtChosen(factor) {
  if (tree.visible.has(chosen)) choose(chosen, true);
  zoom(factor, ...(tree.visible.has(chosen) ? place(chosen) : [size.w / 2, size.h / 2]));
}

function keepInView() {
  const high = tree.rows * view.sy, wide = tree.depth * view.sx + 200;
  view.y = Math.min(size.h - 60, Math.max(60 - high, view.y));
  view.x = Math.min(size.w - 60, Math.max(60 - wide, view.x));
}

function readColours() {
  const style = getComputedStyle(document.documentElement);
  colours = {};
  for (const name of ["back", "raised", "ink", "faint", "rule", "accent", "failed", "kept", "decoded", "pruned", "edge", "good"]) colours[name] = style.getPropertyValue("--" + name).trim();
  colours.decoding = colours.faint;
}

function draw() {
  if (!tree) return;
  const ratio = window.devicePixelRatio || 1, labels = view.sy >= LABEL_ROW - 2;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.fillStyle = colours.back; pen.fillRect(0, 0, size.w, size.h);
  const inSight = (i) => { const [, y] = place(i); return y > -20 && y < size.h + 20; };
  for (const strong of [false, true]) {  // the way to the answer last, above all others
    pen.beginPath();
    for (const i of tree.shown) {
      if (i < 0 || !!tree.best[i] !== strong) continue;
      const [x1, y1] = place(problem.parent[i]), [x2, y2] = place(i), middle = (x1 + x2) / 2;
      if (Math.max(y1, y2) < 0 || Math.min(y1, y2) > size.h) continue;
      pen.moveTo(x1, y1); pen.bezierCurveTo(middle, y1, middle, y2, x2, y2);
    }
    pen.strokeStyle = strong ? colours.good : colours.edge; pen.lineWidth = strong ? 2.5 : Math.max(0.25, Math.min(1, view.sy / 3)); pen.stroke();
  }
  pen.setLineDash([4, 4]); pen.strokeStyle = colours.accent; pen.lineWidth = 1;
  for (const [i, parents] of Object.entries(problem.joins)) {
    for (const parent of parents) {
      if (parent === problem.parent[i] || !tree.visible.has(+i) || !tree.visible.has(parent)) continue;
      const [x1, y1] = place(parent), [x2, y2] = place(+i);
      pen.beginPath(); pen.moveTo(x1, y1); pen.lineTo(x2, y2); pen.stroke();
    }
  }
  pen.setLineDash([]);
  const radius = Math.max(1.4, Math.min(4.5, view.sy * 0.4));
  pen.font = LABEL_FONT + "px system-ui, sans-serif"; pen.textBaseline = "middle";
  for (const i of tree.shown) {
    if (!inSight(i)) continue;
    const [x, y] = place(i), status = i < 0 ? "kept" : data.statuses[problem.status[i]], isBest = i >= 0 && i === problem.best;
    pen.fillStyle = isBest || (i >= 0 && tree.best[i]) ? colours.good : i < 0 ? colours.ink : colours[status];
    pen.beginPath(); pen.arc(x, y, isBest ? Math.max(5, radius) : i < 0 ? Math.max(4, radius) : radius, 0, 7); pen.fill();
    if (tree.closed.has(i) && tree.all[i + 1]) { pen.strokeStyle = pen.fillStyle; pen.lineWidth = 1.5; pen.beginPath(); pen.arc(x, y, radius + 3, 0, 7); pen.stroke(); }
    if (labels || (isBest && view.sy < LABEL_ROW - 2 && chosen !== i)) label(i, x, y, isBest);
  }
  if (tree.visible.has(chosen)) {
    const [x, y] = place(chosen);
    pen.strokeStyle = colours.accent; pen.lineWidth = 2; pen.beginPath(); pen.arc(x, y, radius + 4, 0, 7); pen.stroke();
    if (!labels && chosen >= 0) label(chosen, x, y, true);
  }
}

function label(i, x, y, always) {
  const isLeaf = tree.closed.has(i) || !tree.children[i + 1].length;
  const room = isLeaf || always ? Math.max(60, Math.min(420, size.w - x - 20)) : view.sx - 22;
  const value = i < 0 ? "" : score(problem.score_of[i]), hidden = tree.closed.has(i) && tree.all[i + 1] ? `  +${tree.all[i + 1]}` : "";
  let text = i < 0 ? line(problem.input) : line(problem.text[i]) || problem.answer_of[i] || "(empty)";
  text = cut(text, room - pen.measureText(value + hidden + "  ").width) + hidden;
  const width = pen.measureText(text + (value ? "  " + value : "")).width;
  pen.fillStyle = colours.back; pen.globalAlpha = 0.82; pen.fillRect(x + 8, y - 8, width + 4, 16); pen.globalAlpha = 1;
  const faint = i >= 0 && data.statuses[problem.status[i]] === "pruned";
  pen.fillStyle = faint ? colours.faint : colours.ink; pen.fillText(text, x + 10, y);
  if (value) { pen.fillStyle = colours.faint; pen.fillText(value, x + 10 + pen.measureText(text + "  ").width, y); }
}

function cut(text, room) {
  let few = text.slice(0, Math.max(1, Math.floor(room / 4)));
  if (few === text && pen.measureText(few).width <= room) return text;
  while (few.length > 1 && pen.measureText(few + "…").width > room) few = few.slice(0, Math.floor(few.length * 0.85));
  return few + "…";
}

function choose(i, bring) {
  chosen = i;
  let opened = false;
  for (let above = i < 0 ? -2 : problem.parent[i]; above >= -1; above = above < 0 ? -2 : problem.parent[above]) opened = tree.closed.delete(above) || opened;
  if (i >= 0 && !tree.visible.has(i) && !opened) { byId("pruned").checked = true; opened = true; }
  if (opened) relay();
  if (bring) {
    const [x, y] = place(i);
    if (x < 20 || x > size.w - 140) view.x += Math.min(size.w * 0.45, size.w - 200) - x;
    if (y < 20 || y > size.h - 20) view.y += size.h / 2 - y;
  }
  detail(); draw();
}

function relay() { tree = layOut(tree.closed); tree.visible = new Set(tree.shown); }

function detail() {
  const box = byId("detail"), i = chosen;
  box.replaceChildren();
  if (i < 0) {
    box.append(element("h3", "Problem " + problem.id), element("pre", problem.input));
    const facts = [["outcome", OUTCOMES[problem.outcome]], ["score", score(problem.score)], ["answer", problem.answer ?? ""], ["error", problem.error ?? ""],
      ["thoughts", problem.parent.length.toLocaleString("en")], ["tokens decoded", problem.tokens.toLocaleString("en")]];
    box.append(factList(facts));
  } else {
    box.append(element("h3", (i === problem.best ? "The answer, thought " : "Thought ") + pathOf(i)), element("pre", problem.text[i] || "(empty)"));
    const scores = problem.scores[i] ? Object.entries(problem.scores[i]).map(([by, value]) => `${by} ${score(value)}`).join(", ") : score(problem.score_of[i]);
    box.append(factList([["status", data.statuses[problem.status[i]]], ["score", scores], ["answer", problem.answer_of[i] ?? ""],
      ["tokens", problem.tokens_of[i].toLocaleString("en")], ["ended by", data.ends[problem.end[i]]], ["complete at", problem.spent[i].toLocaleString("en") + " tokens of the problem"]]));
    const above = [];
    for (let up = problem.parent[i]; up >= 0; up = problem.parent[up]) above.unshift(up);
    near("above it", [-1, ...above]);
  }
  near("below it", tree.children[i + 1]);
}

function factList(facts) {
  const list = element("dl");
  for (const [name, text] of facts) if (text !== "") list.append(element("dt", name), element("dd", text));
  return list;
}

function near(title, nodes) {
  if (!nodes.length) return;
  const box = element("div", undefined, "near");
  byId("detail").append(element("h4", `${title}: ${nodes.length.toLocaleString("en")}`), box);
  for (const i of nodes.slice(0, 100)) {
    const text = i < 0 ? "the problem" : `${score(problem.score_of[i]).padStart(5)}  ${line(problem.text[i]).slice(0, 80) || "(empty)"}`;
    const button = element("button", text);
    button.addEventListener("click", () => choose(i, true));
    box.append(button);
  }
  if (nodes.length > 100) box.append(element("p", `and ${nodes.length - 100} more`, "faint"));
}

function open(run, number) {
  const problems = data.runs[run].problems, list = byId("problem");
  if (list.dataset.run !== String(run)) {
    list.replaceChildren();
    problems.forEach((each, i) => list.append(new Option(`${each.id}  ${OUTCOMES[each.outcome]}  ${each.parent.length} thoughts`, i)));
    list.dataset.run = run;
  }
  byId("run").value = run; list.value = number;
  problem = problems[number]; chosen = problem.best;
  tree = { closed: new Set() }; relay();
  const outcome = byId("outcome");
  outcome.textContent = `${OUTCOMES[problem.outcome]}${problem.score === null ? "" : ", score " + score(problem.score)}, ${problem.parent.length.toLocaleString("en")} thoughts, ${problem.tokens.toLocaleString("en")} tokens`;
  outcome.className = problem.outcome;
  detail(); fit();
}

function step(by) {
  const list = byId("problem"), run = +byId("run").value, count = data.runs[run].problems.length;
  open(run, (+list.value + by + count) % count);
}

function toggle() {
  if (!tree.children[chosen + 1].length) return;
  const [, y] = place(chosen);
  if (!tree.closed.delete(chosen)) tree.closed.add(chosen);
  relay();
  view.y += y - place(chosen)[1]; draw();
}

function go(key) {
  const level = tree.levels[tree.x[chosen + 1]], at = level.indexOf(chosen);
  if (key === "ArrowLeft" && chosen >= 0) return choose(problem.parent[chosen], true);
  if (key === "ArrowRight" && !tree.closed.has(chosen) && tree.children[chosen + 1].length) {
    const below = tree.children[chosen + 1];
    return choose(below.find((i) => tree.best[i]) ?? below[0], true);
  }
  if (key === "ArrowUp" && at > 0) choose(level[at - 1], true);
  if (key === "ArrowDown" && at >= 0 && at < level.length - 1) choose(level[at + 1], true);
}

const actions = {
  "+": () => zoomAtChosen(1.4), "=": () => zoomAtChosen(1.4), "-": () => zoomAtChosen(1 / 1.4),
  "0": fit, b: () => problem.best >= 0 && choose(problem.best, true), n: () => step(1), p: () => step(-1), Enter: toggle,
};

canvas.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key.startsWith("Arrow")) go(event.key);
  else if (actions[event.key]) actions[event.key]();
  else return;
  event.preventDefault();
});

function nearest(px, py) {
  let found = null, least = 18 * 18;
  for (const i of tree.shown) {
    const [x, y] = place(i), wide = view.sy >= LABEL_ROW - 2 && px > x && px < x + Math.min(160, view.sx - 20) && Math.abs(py - y) < view.sy / 2;
    const distance = wide ? 1 : (px - x) ** 2 + (py - y) ** 2;
    if (distance < least) { least = distance; found = i; }
  }
  return found;
}

let drag = null;
canvas.addEventListener("pointerdown", (event) => { drag = { x: event.offsetX, y: event.offsetY, moved: false }; canvas.setPointerCapture(event.pointerId); });
canvas.addEventListener("pointermove", (event) => {
  if (!drag) return;
  const dx = event.offsetX - drag.x, dy = event.offsetY - drag.y;
  if (!drag.moved && Math.hypot(dx, dy) < 4) return;
  drag = { x: event.offsetX, y: event.offsetY, moved: true };
  view.x += dx; view.y += dy; keepInView(); draw();
});
canvas.addEventListener("pointerup", (event) => {
  if (drag && !drag.moved) { const found = nearest(event.offsetX, event.offsetY); if (found !== null) choose(found, false); }
  drag = null;
});
canvas.addEventListener("dblclick", toggle);
canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoom(Math.exp(-event.deltaY * 0.0016), event.offsetX, event.offsetY); }, { passive: false });

function middle(factor) { zoom(factor, size.w / 2, size.h / 2); }
byId("in").addEventListener("click", () => middle(1.6));
byId("out").addEventListener("click", () => middle(1 / 1.6));
byId("fit").addEventListener("click", fit);
byId("best").addEventListener("click", () => actions.b());
byId("pruned").addEventListener("change", () => { relay(); if (!tree.visible.has(chosen)) chosen = problem.best; detail(); fit(); });
byId("run").addEventListener("change", (event) => open(+event.target.value, 0));
byId("problem").addEventListener("change", (event) => open(+byId("run").value, +event.target.value));
byId("find").addEventListener("keydown", (event) => {
  const wanted = event.target.value.toLowerCase(), count = problem.text.length;
  if (event.key !== "Enter" || !wanted) return;
  for (let step = 1; step <= count; step++) {
    const i = (chosen + step + count) % count;
    if (problem.text[i].toLowerCase().includes(wanted)) { choose(i, true); return; }
  }
});

const THEMES = ["auto", "light", "dark"];
byId("theme").addEventListener("click", (event) => {
  const root = document.documentElement, next = THEMES[(THEMES.indexOf(root.dataset.theme || "auto") + 1) % 3];
  if (next === "auto") delete root.dataset.theme; else root.dataset.theme = next;
  event.target.textContent = "theme: " + next;
  readColours(); draw();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); draw(); });

function measure() {
  const box = canvas.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
  size = { w: box.width, h: box.height };
  canvas.width = Math.round(box.width * ratio); canvas.height = Math.round(box.height * ratio);
}
new ResizeObserver(() => { const before = size.w; measure(); if (problem && before !== size.w) fit(); else draw(); }).observe(canvas);

data.runs.forEach((run, i) => byId("run").append(new Option(run.name, i)));
readColours(); measure();
const first = data.runs.findIndex((run) => run.problems.length);
if (first >= 0) open(first, 0);
