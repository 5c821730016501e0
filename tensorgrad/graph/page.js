"use strict";
// The page of a graph. Three parts: what is visible (modules opened, repeats folded), where it stands (one layout for each
// open module, inner ones first), and what the reader does.

const data = JSON.parse(document.getElementById("data").textContent);
const { nodes, edges, calls, repeats } = data;
const VALUES = new Set(["parameter", "buffer", "constant"]);
const SCALE = ["#FFFFE5", "#FEE391", "#FEC44F", "#EC7014", "#993404"], SCALE_INK = ["#1A1A1A", "#1A1A1A", "#1A1A1A", "#1A1A1A", "#FFFFFF"];
const SCALE_FROM = [0, 0.02, 0.1, 0.3, 0.7];
const HUES = { operation: "#0072B2", module: "#0072B2", input: "#009E73", output: "#D55E00", parameter: "#E69F00", buffer: "#CC79A7",
  constant: "#8C8C8C", backward: "#CC79A7", gradient: "#CC79A7", failed: "#C00000" };
const state = { closed: new Set(), folded: new Set(repeats.map((_, i) => i)), values: false, saved: false, colour: "", picked: null, found: null,
  scale: 1, x: 0, y: 0 };

// ---------------------------------------------------------------- what is visible

const level = [];
for (const call of calls) level.push(call.outer === null ? 0 : level[call.outer] + 1);
const inner = calls.map(() => []);
for (const call of calls) if (call.outer !== null) inner[call.outer].push(call.number);
const repeatOf = new Map(); // first call of a repeat -> the repeat, for calls that are drawn for all copies
repeats.forEach((repeat, i) => repeat.copies[0].forEach((call) => repeatOf.set(call, i)));

// in which copy of which repeat each node lies: backward operations lie where what they belong to lies
const copyOfCall = new Map();
repeats.forEach((repeat, i) => repeat.copies.forEach((copy, k) => copy.forEach((call) => copyOfCall.set(call, [i, k]))));
const copies = nodes.map((node) => {
  const found = new Map();
  for (let at = node.call; at !== null; at = calls[at].outer) {
    const place = copyOfCall.get(calls[at].of === null ? at : calls[at].of);
    if (place) found.set(...place);
  }
  return found;
});
function betweenCopies(a, b) { // whether an edge runs from copy to copy of what is folded, or inside one that is not shown
  for (const [i, k] of copies[a]) if (state.folded.has(i) && copies[b].has(i) && (copies[b].get(i) !== k || k > 0)) return true;
  return false;
}

function aliases() {
  const alias = new Map();
  for (const i of state.folded) for (const [from, to] of repeats[i].alias) alias.set(from, to);
  const end = (n) => { while (alias.has(n)) n = alias.get(n); return n; };
  return { alias, end };
}

function closedAround(call) { // the outermost closed call around this one
  let found = null;
  for (let at = call; at !== null; at = calls[at].outer) if (state.closed.has(at)) found = at;
  return found;
}

// boxes by key (n12 for a node, c3 for a closed call), frames for open calls, arrows between boxes
function visible() {
  const { alias, end } = aliases();
  const boxes = new Map(), boxOf = new Map(), frames = new Set();
  for (const node of nodes) {
    if (alias.has(node.number) || node.hidden) continue;
    const closed = node.call === null ? null : closedAround(node.call);
    if (closed === null && VALUES.has(node.kind) && !state.values) continue;
    if (closed === null && node.kind === "gradient" && node.of !== null && VALUES.has(nodes[node.of].kind) && !state.values) continue;
    const key = closed === null ? `n${node.number}` : `c${closed}`;
    const frame = closed === null ? node.call : calls[closed].outer;
    if (!boxes.has(key)) boxes.set(key, { key, nodes: [], call: closed, frame, kind: closed === null ? node.kind : "module" });
    boxes.get(key).nodes.push(node);
    boxOf.set(node.number, key);
    for (let at = frame; at !== null; at = calls[at].outer) frames.add(at);
  }
  const arrows = new Map();
  for (const edge of edges) {
    const target = end(edge.target);
    if (nodes[target].hidden || betweenCopies(edge.source, edge.target)) continue;
    if (edge.saved && !state.saved) continue;
    let source = end(edge.source), guard = 0;
    while (nodes[source].hidden && nodes[source].through !== null && guard++ < 99) source = end(nodes[source].through);
    const tail = boxOf.get(source), head = boxOf.get(target);
    if (tail === undefined || head === undefined || tail === head) continue;
    const key = `${tail} ${head} ${edge.saved}`;
    if (!arrows.has(key)) arrows.set(key, { tail, head, saved: edge.saved, shape: edge.shape, edges: [] });
    arrows.get(key).edges.push([source, target, edge.tracked]);
  }
  return { boxes, frames, arrows: [...arrows.values()] };
}

// ---------------------------------------------------------------- words and sizes

const measure = document.createElement("canvas").getContext("2d");
function width(text, bold) { measure.font = `${bold ? "bold " : ""}12px Helvetica, Arial, sans-serif`; return measure.measureText(text).width; }
function count(n) {
  for (const [f, unit] of [[1e12, " T"], [1e9, " G"], [1e6, " M"], [1e3, " k"]]) if (n >= f) return (n / f).toPrecision(3) + unit;
  return String(Math.round(n * 1e6) / 1e6);
}
const callName = (call) => {
  let text = call.name && call.name !== call.kind ? `${call.name} (${call.kind})` : call.kind;
  if (call.repeat > 1) text += `, call ${call.repeat}`;
  return call.of === null ? text : `${text} backward`;
};
function costOf(list, top) { // repeats inside count as often as they stand for
  const sum = {};
  for (const node of list) {
    let times = 1;
    for (let at = node.call; at !== null && at !== top; at = calls[at].outer) if (repeatOf.has(at) && state.folded.has(repeatOf.get(at))) times *= repeats[repeatOf.get(at)].copies.length;
    if (top === null) times = 1;
    for (const [name, value] of Object.entries(node.cost || {})) sum[name] = (sum[name] || 0) + value * times;
  }
  return sum;
}
function describe(box) {
  const node = box.nodes[0];
  box.failed = box.nodes.find((n) => n.failed);
  box.back = box.kind === "module" ? calls[box.call].of !== null : node.kind === "backward" || node.kind === "gradient";
  box.cost = costOf(box.kind === "module" ? nodes.filter((n) => within(n.call, box.call)) : box.nodes, box.kind === "module" ? box.call : null);
  const lines = [];
  if (box.kind === "module") {
    const settings = new Set(box.nodes.filter((n) => n.kind === "operation" && n.text).map((n) => n.text));
    lines.push(callName(calls[box.call]));
    if (settings.size === 1) lines.push([...settings][0]);
  } else {
    lines.push(node.label || node.kind);
    if (node.text) lines.push(node.text);
    if (["input", "output"].includes(node.kind) || VALUES.has(node.kind) || node.kind === "gradient") lines.push(node.shape);
  }
  if (box.failed) lines.push(`${box.failed.name} failed`);
  box.lines = lines.filter(Boolean).map((line) => (line.length > 42 ? line.slice(0, 41) + "…" : line));
  box.w = Math.max(44, ...box.lines.map((line, i) => width(line, i === 0) * (i ? 0.84 : 1) + 18));
  box.h = 10 + 14 * box.lines.length;
  if (VALUES.has(box.kind)) box.w += 14;
}
function within(call, outer) { for (let at = call; at !== null; at = calls[at].outer) if (at === outer) return true; return false; }

// ---------------------------------------------------------------- where it stands

// Every open module is laid out by itself: its items (boxes, and open modules as boxes of known size) in layers, with a port
// at its top for each value that comes in and at its bottom for each that goes out.
const GAP = 16, ROW = 34, PAD = 12, HEAD = 22;

function arrange(view) {
  const containers = new Map([[null, fresh(null)]]);
  for (const frame of [...view.frames].sort((a, b) => a - b)) containers.set(frame, fresh(frame));
  function fresh(call) { return { call, items: [], links: [], ports: new Map(), first: Infinity }; }
  for (const box of view.boxes.values()) {
    describe(box);
    const item = { box, w: box.w, h: box.h, first: box.nodes[0].number, key: box.key };
    box.item = item;
    containers.get(box.frame).items.push(item);
  }
  for (const frame of [...view.frames].sort((a, b) => b - a)) {
    const own = containers.get(frame);
    own.item = { container: own, first: Math.min(...own.items.map((i) => i.first)), key: `f${frame}` };
    containers.get(calls[frame].outer).items.push(own.item);
  }
  const chain = (frame) => { const list = []; for (let at = frame; ; at = calls[at].outer) { list.push(at); if (at === null) return list; } };
  for (const arrow of view.arrows) {
    arrow.legs = [];
    if (arrow.saved) continue;
    const tail = view.boxes.get(arrow.tail), head = view.boxes.get(arrow.head);
    const up = chain(tail.frame), down = chain(head.frame), common = up.find((at) => down.includes(at));
    let from = { item: tail.item, port: null }, to = { item: head.item, port: null };
    const leave = [], enter = [];
    for (const at of up) { if (at === common) break; const c = containers.get(at), p = port(c, `out ${arrow.tail}`, false); leave.push(link(c, from, { item: p, port: null })); from = { item: c.item, port: p }; }
    for (const at of down) { if (at === common) break; const c = containers.get(at), p = port(c, `in ${arrow.tail}`, true); enter.unshift(link(c, { item: p, port: null }, to)); to = { item: c.item, port: p }; }
    arrow.legs = [...leave, link(containers.get(common), from, to), ...enter];
  }
  function port(c, key, top) {
    if (!c.ports.has(key)) { const p = { port: top ? "top" : "bottom", w: 4, h: 0, first: top ? -1 : Infinity, key }; c.ports.set(key, p); c.items.push(p); }
    return c.ports.get(key);
  }
  function link(c, from, to) {
    const same = c.links.find((l) => l.from.item === from.item && l.from.port === from.port && l.to.item === to.item && l.to.port === to.port);
    if (same) return same;
    const made = { container: c, from, to }; c.links.push(made); return made;
  }
  for (const frame of [...view.frames].sort((a, b) => b - a)) place(containers.get(frame));
  place(containers.get(null));
  absolute(containers.get(null), 0, 0);
  return containers;
}

function place(c) {
  for (const item of c.items) if (item.container) { item.w = item.container.w; item.h = item.container.h; }
  // values that stand beside their operation
  const used = new Map();
  for (const l of c.links) { used.set(l.from.item, (used.get(l.from.item) || 0) + 1); }
  for (const item of c.items) item.left = [];
  const side = new Set();
  for (const l of c.links) {
    const box = l.from.item.box;
    if (box && VALUES.has(box.kind) && used.get(l.from.item) === 1 && l.to.item.box && !VALUES.has(l.to.item.box.kind)) { side.add(l.from.item); l.to.item.left.push(l.from.item); l.side = true; }
    if (l.to.item.box && l.to.item.box.kind === "gradient" && l.from.item.box && !c.links.some((o) => o !== l && (o.to.item === l.to.item || o.from.item === l.to.item))) { side.add(l.to.item); l.from.item.left.push(l.to.item); l.side = true; }
  }
  for (const item of c.items) item.margin = item.left.length ? Math.max(...item.left.map((v) => v.w)) + GAP : 0;
  for (const item of c.items) if (item.left.length) item.h = Math.max(item.h, item.left.reduce((sum, v) => sum + v.h + 6, -6));
  const items = c.items.filter((item) => !side.has(item)).sort((a, b) => a.first - b.first || (a.key < b.key ? -1 : 1));
  const rank = new Map(items.map((item, i) => [item, i]));
  const flow = c.links.filter((l) => !l.side && l.from.item !== l.to.item).map((l) => ({ l, up: rank.get(l.from.item) <= rank.get(l.to.item) }));
  // layers: below everything that comes before
  for (const item of items) item.layer = 0;
  const into = new Map(items.map((item) => [item, []]));
  for (const f of flow) { f.a = f.up ? f.l.from : f.l.to; f.b = f.up ? f.l.to : f.l.from; into.get(f.b.item).push(f); }
  for (const item of items) for (const f of into.get(item)) item.layer = Math.max(item.layer, f.a.item.layer + 1);
  if (items.some((i) => i.port === "top")) for (const item of items) if (item.port !== "top") item.layer = Math.max(item.layer, 1);
  for (const item of items) for (const f of into.get(item)) item.layer = Math.max(item.layer, f.a.item.layer + 1);
  const bottom = Math.max(0, ...items.filter((i) => i.port !== "bottom").map((i) => i.layer)) + 1;
  for (const item of items) if (item.port === "bottom") item.layer = bottom;
  // sources that are no ports go down to their first use
  for (const item of [...items].reverse()) if (!into.get(item).length && item.port !== "top") {
    const uses = flow.filter((f) => f.a.item === item).map((f) => f.b.item.layer);
    if (uses.length) item.layer = Math.max(item.layer, Math.min(...uses) - 1);
  }
  const layers = [];
  for (const item of items) (layers[item.layer] ||= []).push(item);
  for (let i = 0; i < layers.length; i++) layers[i] ||= [];
  // lanes for what passes other layers
  const steps = [];
  for (const f of flow) {
    let before = f.a;
    f.lane = [];
    for (let i = f.a.item.layer + 1; i < f.b.item.layer; i++) {
      const dummy = { lane: true, w: 8, h: 0, layer: i, margin: 0, left: [] };
      layers[i].push(dummy); f.lane.push(dummy); steps.push([before, { item: dummy, port: null }]); before = { item: dummy, port: null };
    }
    steps.push([before, f.b]);
  }
  const downs = new Map(), ups = new Map();
  for (const [a, b] of steps) { (downs.get(a.item) || downs.set(a.item, []).get(a.item)).push([a, b]); (ups.get(b.item) || ups.set(b.item, []).get(b.item)).push([a, b]); }
  const offset = (end) => (end.port ? end.port.x + end.port.w / 2 : end.item.margin + (end.item.w / 2));
  const spread = (layer) => { let x = 0; for (const item of layer) { item.x = x; x += item.w + item.margin + GAP; } };
  layers.forEach(spread);
  const wish = (item, towards) => {
    const list = towards.get(item);
    if (!list) return null;
    let sum = 0, weight = 0;
    for (const [a, b] of list) {
      const [mine, other] = towards === ups ? [b, a] : [a, b];
      const heavy = item.lane && other.item.lane ? 6 : other.item.lane || item.lane ? 1 : 2;
      sum += heavy * (other.item.x + offset(other) - offset(mine)); weight += heavy;
    }
    return sum / weight;
  };
  for (let round = 0; round < 6; round++) { // order within the layers
    const down = round % 2 === 0;
    for (const layer of down ? layers : [...layers].reverse()) {
      for (const item of layer) { const w = wish(item, down ? ups : downs); item.want = w === null ? item.x : w; }
      layer.sort((a, b) => a.want + offset({ item: a }) - b.want - offset({ item: b }));
      spread(layer);
    }
  }
  const settle = (layer) => { // each as near to its wish as the others allow: blocks that touch move together
    const blocks = [];
    for (const item of layer) {
      let block = { items: [item], sum: item.want * 1, n: 1, w: item.w + item.margin + GAP };
      blocks.push(block);
      while (blocks.length > 1) {
        const before = blocks[blocks.length - 2];
        if (before.sum / before.n + before.w <= block.sum / block.n) break;
        blocks.pop(); blocks.pop();
        block = { items: [...before.items, ...block.items], sum: before.sum + block.sum - block.n * before.w, n: before.n + block.n, w: before.w + block.w };
        blocks.push(block);
      }
    }
    for (const block of blocks) { let x = block.sum / block.n; for (const item of block.items) { item.x = x; x += item.w + item.margin + GAP; } }
  };
  for (let round = 0; round < 10; round++) {
    const down = round % 2 === 0;
    for (const layer of down ? layers : [...layers].reverse()) {
      for (const item of layer) {
        const a = wish(item, ups), b = wish(item, downs);
        item.want = a === null ? (b === null ? item.x : b) : b === null ? a : round < 6 ? (down ? a : b) : (a + b) / 2;
      }
      settle(layer);
    }
  }
  const all = layers.flat(), left = Math.min(0, ...all.map((i) => i.x)), least = all.length ? Math.min(...all.map((i) => i.x)) : 0;
  let y = c.call === null ? PAD : HEAD + 6;
  for (const layer of layers) {
    const h = Math.max(0, ...layer.map((i) => i.h));
    for (const item of layer) {
      item.x += PAD - least; item.y = y + (h - item.h) / 2;
      let vy = item.y + item.h / 2 - item.left.reduce((sum, v) => sum + v.h + 6, -6) / 2;
      for (const value of item.left) { value.x = item.x + item.margin - GAP - value.w; value.y = vy; vy += value.h + 6; }
      if (item.lane) { item.y = y + h / 2; item.top = y; item.base = y + h; }
      item.x += item.margin;
    }
    const bare = layer.every((i) => i.port);
    y += h + (bare ? 8 : ROW);
  }
  for (const item of items) if (item.port) item.y = item.port === "top" ? 0 : y - ROW + PAD;
  c.w = Math.max(...all.map((i) => i.x + i.w), 0) + PAD;
  if (c.call !== null) c.w = Math.max(c.w, width(callName(calls[c.call])) + 90);
  c.h = y - ROW + PAD;
  for (const f of flow) f.l.route = f;
}

function absolute(c, x, y) {
  c.x = x; c.y = y;
  for (const item of c.items) {
    item.ax = x + item.x; item.ay = y + item.y;
    if (item.container) absolute(item.container, item.ax, item.ay);
  }
}

function points(link) { // the way of one leg, from its start to its end
  const c = link.container, end = (e, bottom) => {
    if (e.item.port) return [e.item.ax + e.item.w / 2, e.item.ay];
    const x = e.port ? e.port.ax + e.port.w / 2 : e.item.ax + e.item.w / 2;
    return [x, e.item.ay + (bottom ? (e.item.box ? e.item.h / 2 + e.item.box.h / 2 : e.item.h) : (e.item.box ? e.item.h / 2 - e.item.box.h / 2 : 0))];
  };
  if (link.side) {
    const a = link.from.item, b = link.to.item, right = a.ax < b.ax;
    return [[a.ax + (right ? a.w : 0), a.ay + a.h / 2], [b.ax + (right ? 0 : b.w), b.ay + b.h / 2]];
  }
  const f = link.route;
  if (!f) return [];
  const way = [end(f.a, true)];
  for (const lane of f.lane) way.push([c.x + lane.x + 4, c.y + lane.top], [c.x + lane.x + 4, c.y + lane.base]);
  way.push(end(f.b, false));
  return f.up ? way : way.reverse();
}

function curve(way, straight) {
  let d = `M${way[0][0].toFixed(1)},${way[0][1].toFixed(1)}`;
  for (let i = 1; i < way.length; i++) {
    const [x0, y0] = way[i - 1], [x, y] = way[i];
    if (straight || Math.abs(x - x0) < 0.5) d += ` L${x.toFixed(1)},${y.toFixed(1)}`;
    else { const m = Math.max(10, Math.abs(y - y0) / 2) * Math.sign(y - y0 || 1); d += ` C${x0.toFixed(1)},${(y0 + m).toFixed(1)} ${x.toFixed(1)},${(y - m).toFixed(1)} ${x.toFixed(1)},${y.toFixed(1)}`; }
  }
  return d;
}

// ---------------------------------------------------------------- drawing

const world = document.getElementById("world"), tip = document.getElementById("tip"), stage = document.getElementById("stage");
function make(kind, attributes, parent, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  if (parent) parent.appendChild(element);
  return element;
}
let current = null;

function draw(keep) {
  const view = visible(), containers = arrange(view), root = containers.get(null);
  current = { view, root };
  world.replaceChildren();
  const open = [...view.frames].sort((a, b) => a - b).map((frame) => containers.get(frame));
  open.forEach(drawFrame);
  const largest = state.colour ? Math.max(...[...view.boxes.values()].map((box) => box.cost[state.colour] || 0)) : 0;
  const labelled = new Set();
  for (const arrow of view.arrows) drawArrow(view, arrow, labelled);
  open.forEach(drawTitle);
  for (const box of view.boxes.values()) drawBox(box, largest);
  drawLegend(view, largest);
  highlight();
  if (!keep) fit(); else move();
}

function drawFrame(c) {
  const call = calls[c.call], i = repeatOf.get(c.call), folded = i !== undefined && state.folded.has(i);
  const group = make("g", { class: `frame${folded ? " repeated" : ""}`, "data-frame": c.call, "data-path": call.path }, world);
  make("rect", { x: c.x, y: c.y, width: c.w, height: c.h, rx: 7 }, group);
}

function drawTitle(c) { // above the arrows that pass it
  const call = calls[c.call], group = make("g", { "data-title": c.call }, world);
  const handle = make("rect", { class: "handle", x: c.x + 6, y: c.y + 5, width: 13, height: 13, rx: 2, "data-close": c.call }, group);
  make("text", { x: c.x + 9.2, y: c.y + 15.5 }, group, "−");
  make("text", { class: "title", x: c.x + 25, y: c.y + 15.5 }, group, callName(call));
  handle.addEventListener("click", () => { if (!dragged) { state.closed.add(c.call); draw(true); } });
  handle.addEventListener("mousemove", (event) => tell(event, null, c.call));
  handle.addEventListener("mouseleave", hush);
  badge(group, repeatOf.get(c.call), c.x + 30 + width(callName(call)) * 0.92, c.y + 4, c.call);
}

function badge(parent, i, x, y, call) { // × n: shows the copies; on the first of them: hides them again
  if (i === undefined || repeats[i].copies[0][0] !== call) return;
  const folded = state.folded.has(i), text = folded ? `× ${repeats[i].copies.length}` : "fold";
  const g = make("g", { class: "badge", "data-repeat": i }, parent);
  make("rect", { x, y, width: width(text) + 10, height: 16, rx: 8 }, g);
  make("text", { x: x + 5, y: y + 12 }, g, text);
  g.addEventListener("click", (event) => { event.stopPropagation(); if (dragged) return; folded ? state.folded.delete(i) : state.folded.add(i); draw(true); });
}

function drawBox(box, largest) {
  const item = box.item, x = item.ax, y = item.ay + (item.h - box.h) / 2, kind = box.failed ? "failed" : box.kind === "module" && box.back ? "backward" : box.kind;
  const g = make("g", { class: "box", "data-key": box.key, "data-kind": kind, "data-path": box.call === null ? box.nodes[0].name : calls[box.call].path }, world);
  let fill = `var(--${kind})`, ink = null;
  if (state.colour && !VALUES.has(box.kind) && !box.failed) {
    const share = largest ? (box.cost[state.colour] || 0) / largest : 0;
    const step = SCALE_FROM.reduce((found, from, i) => (share >= from ? i : found), 0);
    fill = SCALE[step]; ink = SCALE_INK[step];
    g.setAttribute("data-step", step);
  }
  const look = { fill, stroke: HUES[kind], "stroke-width": box.kind === "module" ? 2.2 : 1.3 };
  if (kind === "backward" || kind === "buffer") look["stroke-dasharray"] = "5 2";
  if (VALUES.has(box.kind)) make("ellipse", { cx: x + box.w / 2, cy: y + box.h / 2, rx: box.w / 2, ry: box.h / 2, ...look }, g);
  else make("rect", { x, y, width: box.w, height: box.h, rx: ["input", "output"].includes(kind) ? 9 : kind === "gradient" ? 14 : 2, ...look }, g);
  box.lines.forEach((line, i) => {
    const text = make("text", { class: i ? "small" : "name", x: x + box.w / 2, y: y + 17 + 14 * i, "text-anchor": "middle" }, g, line);
    if (ink) text.style.fill = ink;
  });
  if (box.call !== null) badge(g, repeatOf.get(box.call), x + box.w + 4, y, box.call);
  g.addEventListener("mousemove", (event) => tell(event, box, null));
  g.addEventListener("mouseleave", hush);
  g.addEventListener("click", () => {
    if (dragged) return;
    if (box.call !== null) { state.closed.delete(box.call); draw(true); return; }
    state.picked = state.picked === box.nodes[0].number ? null : box.nodes[0].number;
    highlight();
  });
}

function drawArrow(view, arrow, labelled) {
  const tail = view.boxes.get(arrow.tail), head = view.boxes.get(arrow.head);
  if (arrow.saved) {
    const a = tail.item, b = head.item, x0 = a.ax + a.w, y0 = a.ay + a.h / 2, x1 = b.ax, y1 = b.ay + b.h / 2, m = Math.max(40, (x1 - x0) / 2);
    arrow.elements = [make("path", { class: "arrow saved", d: `M${x0},${y0} C${x0 + m},${y0} ${x1 - m},${y1} ${x1},${y1}`, "marker-end": "url(#tip-of-arrow)" }, world)];
    return;
  }
  const thin = VALUES.has(tail.kind) || head.kind === "gradient", way = [];
  for (const leg of arrow.legs) { const p = points(leg); if (p.length) way.push(...(way.length ? p.slice(Math.hypot(p[0][0] - way.at(-1)[0], p[0][1] - way.at(-1)[1]) < 1 ? 1 : 0) : p)); }
  if (way.length < 2) { arrow.elements = []; return; }
  const d = curve(way, arrow.legs.every((leg) => leg.side));
  arrow.elements = [make("path", { class: `arrow${thin ? " thin" : ""}`, d, "marker-end": "url(#tip-of-arrow)", "data-tail": arrow.tail, "data-head": arrow.head }, world)];
  const label = `${arrow.tail} ${arrow.shape}`;
  if (arrow.shape && !thin && tail.kind !== "input" && !labelled.has(label)) { // once for each value
    labelled.add(label);
    make("text", { class: "shape", x: way[0][0] + 4, y: way[0][1] + 11 }, world, arrow.shape);
  }
}

function drawLegend(view, largest) {
  const kinds = new Set([...view.boxes.values()].map((box) => (box.failed ? "failed" : box.kind === "module" && box.back ? "backward" : box.kind)));
  let said = [...kinds].map((kind) => `<span><i style="background:var(--${kind});border-color:${HUES[kind]}"></i>${kind === "module" ? "module (click opens)" : kind}</span> `).join("");
  if (state.colour) said += "<br>" + SCALE.map((c, i) => `<span><i style="background:${c}"></i>${i ? `from ${SCALE_FROM[i] * 100} %` : "less"}</span> `).join("") + `<br>&nbsp; of ${count(largest)} ${data.words[state.colour] || state.colour}`;
  if (state.picked !== null) said += `<br><i style="background:var(--glow)"></i>way of the gradient of ${escapeText(nodes[state.picked].label || nodes[state.picked].kind)}`;
  document.getElementById("legend").innerHTML = said;
}
function escapeText(text) { const p = document.createElement("p"); p.textContent = text; return p.innerHTML; }

// the way of a gradient: from the outputs back to what was picked, along all that is tracked
function gradientWay(picked) {
  const start = nodes[picked].of !== null && nodes[picked].of !== undefined ? nodes[picked].of : picked;
  const away = new Map(), back = new Map();
  for (const edge of edges) if (edge.tracked && !edge.saved && nodes[edge.source].of === null && nodes[edge.target].of === null) {
    (away.get(edge.source) || away.set(edge.source, []).get(edge.source)).push(edge.target);
    (back.get(edge.target) || back.set(edge.target, []).get(edge.target)).push(edge.source);
  }
  const reach = (from, steps) => { const seen = new Set([from]), stack = [from]; while (stack.length) for (const n of steps.get(stack.pop()) || []) if (!seen.has(n)) { seen.add(n); stack.push(n); } return seen; };
  const way = nodes[start].kind === "output" ? reach(start, back) : reach(start, away);
  for (const node of nodes) if (node.of !== null && way.has(node.of)) way.add(node.number);
  return way;
}

function highlight() {
  if (!current) return;
  const way = state.picked === null ? null : gradientWay(state.picked), { end } = aliases();
  const shown = way && new Set([...way].map(end));
  world.classList.toggle("lit", way !== null);
  for (const element of world.querySelectorAll(".box")) {
    const box = current.view.boxes.get(element.dataset.key);
    element.classList.toggle("on", !!shown && box.nodes.some((n) => shown.has(n.number)));
    element.classList.toggle("found", state.found !== null && box.nodes.some((n) => n.number === end(state.found)));
  }
  for (const arrow of current.view.arrows) for (const element of arrow.elements) {
    element.classList.toggle("on", !!shown && !arrow.saved && arrow.edges.some(([a, b, tracked]) => tracked && shown.has(a) && shown.has(b)));
  }
  drawLegend(current.view, state.colour ? Math.max(...[...current.view.boxes.values()].map((box) => box.cost[state.colour] || 0)) : 0);
}

// ---------------------------------------------------------------- hover

function tell(event, box, call) {
  const rows = [], add = (name, value) => { if (value !== undefined && value !== null && value !== "") rows.push([name, value]); };
  let head;
  const list = box ? box.nodes : nodes.filter((n) => within(n.call, call)), node = list[0];
  const cost = box ? box.cost : costOf(list, call), module = call !== null ? calls[call] : box.call !== null ? calls[box.call] : null;
  if (module) { head = callName(module); add("path", module.path); } else {
    head = node.label || node.kind;
    add("path", node.path); add("settings", node.text); add("result", node.shape && `${node.shape} ${node.dtype || ""}`);
    add("saved for backward", node.saves.join(", "));
  }
  if (module) add("result", [...new Set(list.filter((n) => n.kind === "operation").map((n) => n.shape))].at(-1));
  for (const [name, words] of Object.entries(data.words)) if (cost[name]) add(words, name.includes("seconds") ? `${(cost[name] * 1e3).toPrecision(3)} ms` : `${Math.round(cost[name]).toLocaleString("en")} (${count(cost[name])})`);
  if (cost.moved) add("FLOPs / byte", (cost.flops / cost.moved || 0).toPrecision(3));
  const last = list.filter((n) => n.field).at(-1);
  if (last) add("receptive field", last.field);
  if (!module) { for (const what of ["statistics", "gradient"]) if (node[what]) add(what === "gradient" ? "gradient" : "values", figures(node[what])); }
  add("line", (list.find((n) => n.source) || node).source);
  const failed = list.find((n) => n.failed);
  if (failed) add("failed", failed.failed);
  tip.innerHTML = `<b>${escapeText(head)}</b><table>${rows.map(([a, b]) => `<tr><td>${escapeText(a)}</td><td>${escapeText(String(b))}</td></tr>`).join("")}</table>`;
  tip.style.display = "block";
  const w = tip.offsetWidth, h = tip.offsetHeight;
  tip.style.left = `${event.clientX + 16 + w > innerWidth ? Math.max(0, event.clientX - w - 12) : event.clientX + 16}px`;
  tip.style.top = `${Math.max(0, Math.min(event.clientY + 14, innerHeight - h - 6))}px`;
}
function figures(f) {
  const n = (x) => (typeof x === "number" ? x.toPrecision(3) : x);
  return `mean ${n(f.mean)}, std ${n(f.std)}, from ${n(f.min)} to ${n(f.max)}, ${(100 * f.zeros).toFixed(0)} % zeros` + (f.nan ? `, ${f.nan} nan` : "") + (f.inf ? `, ${f.inf} inf` : "");
}
function hush() { tip.style.display = "none"; }

// ---------------------------------------------------------------- zoom, pan, search, buttons

function move() { world.setAttribute("transform", `translate(${state.x},${state.y}) scale(${state.scale})`); }
function fit() {
  const { root } = current, w = stage.clientWidth, h = stage.clientHeight;
  state.scale = Math.min(1.4, w / (root.w + 20), h / (root.h + 20));
  if (root.h * state.scale < 0.9 * h || state.scale > 0.25) { state.x = (w - root.w * state.scale) / 2; state.y = (h - root.h * state.scale) / 2; }
  else { state.scale = Math.min(1, w / (root.w + 20)); state.x = (w - root.w * state.scale) / 2; state.y = 8; } // a long one begins at its top
  move();
}
function zoom(factor, x = stage.clientWidth / 2, y = stage.clientHeight / 2) {
  const scale = Math.min(8, Math.max(0.02, state.scale * factor));
  state.x = x - ((x - state.x) * scale) / state.scale; state.y = y - ((y - state.y) * scale) / state.scale; state.scale = scale; move();
}
stage.addEventListener("wheel", (event) => { event.preventDefault(); const r = stage.getBoundingClientRect(); zoom(Math.exp(-event.deltaY / 400), event.clientX - r.left, event.clientY - r.top); }, { passive: false });
let grip = null, dragged = false;
stage.addEventListener("pointerdown", (event) => { grip = { x: event.clientX, y: event.clientY, sx: state.x, sy: state.y }; dragged = false; });
addEventListener("pointermove", (event) => {
  if (!grip) return;
  if (Math.hypot(event.clientX - grip.x, event.clientY - grip.y) > 4) { dragged = true; stage.classList.add("dragged"); hush(); }
  if (dragged) { state.x = grip.sx + event.clientX - grip.x; state.y = grip.sy + event.clientY - grip.y; move(); }
});
addEventListener("pointerup", () => { grip = null; stage.classList.remove("dragged"); });
stage.addEventListener("click", (event) => { if (!dragged && event.target.tagName === "svg") { state.picked = null; state.found = null; highlight(); } });

let hits = [], hit = -1;
const search = document.getElementById("search");
function look() {
  const wanted = search.value.trim().toLowerCase();
  hits = wanted ? nodes.filter((n) => !n.hidden && [n.name, n.path || "", n.path ? `${n.path}.${n.name}` : "", n.call === null ? "" : calls[n.call].kind].some((t) => t.toLowerCase().includes(wanted))) : [];
  hit = -1;
  document.getElementById("hits").textContent = wanted ? `${hits.length} found` : "";
  if (!wanted) { state.found = null; highlight(); }
}
function next() {
  if (!hits.length) return;
  hit = (hit + 1) % hits.length;
  const node = hits[hit];
  document.getElementById("hits").textContent = `${hit + 1} of ${hits.length}`;
  for (let i = 0; i < repeats.length; i++) if (repeats[i].alias.some(([from]) => from === node.number)) state.folded.delete(i);
  for (let at = node.call; at !== null; at = calls[at].outer) state.closed.delete(at);
  if (VALUES.has(node.kind)) { state.values = true; document.getElementById("values").checked = true; }
  document.getElementById("folding").checked = state.folded.size === repeats.length;
  state.found = node.number;
  draw(true);
  const { end } = aliases(), element = [...current.view.boxes.values()].find((box) => box.nodes.some((n) => n.number === end(node.number)));
  if (!element) return;
  state.scale = Math.max(state.scale, 0.9);
  state.x = stage.clientWidth / 2 - (element.item.ax + element.w / 2) * state.scale;
  state.y = stage.clientHeight / 2 - (element.item.ay + element.h / 2) * state.scale;
  move();
}
search.addEventListener("input", look);
search.addEventListener("keydown", (event) => { if (event.key === "Enter") next(); if (event.key === "Escape") { search.value = ""; look(); search.blur(); } });
addEventListener("keydown", (event) => { if (event.key === "/" && document.activeElement !== search) { event.preventDefault(); search.focus(); } });

function visibleDepth() { return Math.max(-1, ...[...visible().frames].map((f) => level[f])); }
const on = (id, what, act) => document.getElementById(id).addEventListener(what, act);
on("closer", "click", () => { const depth = visibleDepth(); for (const call of calls) if (level[call.number] >= Math.max(depth, 0)) state.closed.add(call.number); draw(); });
on("opener", "click", () => { const depth = visibleDepth() + 1; for (const call of calls) if (level[call.number] <= depth) state.closed.delete(call.number); draw(); });
on("folding", "change", (event) => { state.folded = new Set(event.target.checked ? repeats.map((_, i) => i) : []); draw(); });
on("values", "change", (event) => { state.values = event.target.checked; draw(); });
on("saved", "change", (event) => { state.saved = event.target.checked; draw(true); });
on("colour", "change", (event) => { state.colour = event.target.value; draw(true); });
on("fit", "click", fit);
on("larger", "click", () => zoom(1.3));
on("smaller", "click", () => zoom(1 / 1.3));
on("theme", "click", () => { const html = document.documentElement; html.dataset.theme = html.dataset.theme === "dark" ? "light" : "dark"; });
addEventListener("resize", () => { stage.style.setProperty("--top", `${document.querySelector("header").offsetHeight}px`); });

document.getElementById("title").textContent = data.title;
if (!edges.some((edge) => edge.saved)) document.getElementById("saving").style.display = "none";
if (!repeats.length) document.getElementById("folding").parentElement.style.display = "none";
const offered = Object.keys(data.words).filter((name) => nodes.some((n) => n.cost && n.cost[name]));
for (const name of offered) document.getElementById("colour").append(new Option(`by ${data.words[name]}`, name));
stage.style.setProperty("--top", `${document.querySelector("header").offsetHeight}px`);
// to begin with: modules that hold no others are closed, and more of them while there is too much to see
for (const call of calls) if (!inner[call.number].length && call.outer !== null) state.closed.add(call.number);
for (let depth = Math.max(...level, 0); depth > 1 && visible().boxes.size > 160; depth--) for (const call of calls) if (level[call.number] >= depth - 1) state.closed.add(call.number);
for (const node of nodes) if (node.failed) for (let at = node.call; at !== null; at = calls[at].outer) state.closed.delete(at);
draw();
