"use strict";
// Draws the ledger: the flame of scopes, the sums by operation, the roofline, the tree of nodes, one node in detail.

const ledger = JSON.parse(document.getElementById("data").textContent);
const nodes = ledger.entries;
const $ = (id) => document.getElementById(id);
const escapes = new Map([["&", "&amp;"], ["<", "&lt;"], [">", "&gt;"], ['"', "&quot;"]]);
const esc = (text) => String(text).replace(/[&<>"]/g, (c) => escapes.get(c));

// ---- Numbers as people read them.
const three = (x) => x.toFixed(x < 9.995 ? 2 : x < 99.95 ? 1 : 0);
function scaled(x, unit) {
  for (const [size, prefix] of [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]])
    if (x >= size) return three(x / size) + " " + prefix + unit;
  return (Number.isInteger(x) ? x : three(x)) + " " + unit;
}
function time(ns) {
  for (const [size, unit] of [[1e9, "s"], [1e6, "ms"], [1e3, "µs"]]) if (ns >= size) return three(ns / size) + " " + unit;
  return Math.round(ns) + " ns";
}
const percent = (share) => (100 * share).toFixed(1) + " %";
const number = (x) => (typeof x === "number" ? String(+x.toPrecision(4)).replace("-", "−") : x);
const shape = (v) => (v.type === "real" ? "" : v.type) + "[" + v.shape.join(", ") + "]";

// ---- The seven slowest operations have a colour each, all others share one.
const kinds = new Map(ledger.operations.map((sum, i) => [sum.operation, { ...sum, colour: "var(--c" + Math.min(i, 7) + ")" }]));
const colour = (node) => kinds.get(node.operation).colour;

// ---- Who reads a node, and the parameter it is about.
const byNumber = new Map(nodes.map((node) => [node.node, node]));
const readers = new Map();
for (const node of nodes)
  for (const number of new Set(node.inputs.map((input) => input.node)))
    readers.set(number, [...(readers.get(number) || []), node]);
for (const node of nodes) {
  const parameter = node.inputs.find((input) => input.kind === "parameter");
  node.about = parameter ? parameter.name : "";
  const parts = [node.operation, node.path, node.about, node.file + ":" + node.line, "%" + node.node];
  node.words = [...parts, ...[...node.inputs, ...node.outputs].map(shape)].join(" ").toLowerCase();
}

// ---- The flame: neighbouring nodes of one scope under one slice.
function drawFlame() {
  const total = Math.max(1, ledger.totals.nanoseconds);
  const layers = [];
  const put = (depth, begin, ns, attributes, text) => {
    const width = (100 * ns) / total;
    if (width < 0.04) return;
    (layers[depth] ||= []).push(
      `<button type="button" style="left:${((100 * begin) / total).toFixed(3)}%;width:${width.toFixed(3)}%;${attributes}>${width > 2 ? esc(text) : ""}</button>`);
  };
  let open = [], now = 0;
  const close = (depth) => {
    for (let i = depth; i < open.length; i++) {
      const scope = open.slice(0, i + 1).map((s) => s.name).join(".");
      const label = esc(scope + ", " + time(now - open[i].begin));
      put(i, open[i].begin, now - open[i].begin, `" data-scope="${esc(scope)}" title="${label}" tabindex="-1"`, open[i].name);
    }
    open = open.slice(0, depth);
  };
  const tips = 4;
  for (const node of nodes) {
    const path = node.path.split(".").filter(Boolean).slice(0, tips);
    let shared = 0;
    while (shared < open.length && shared < path.length && open[shared].name === path[shared]) shared++;
    close(shared);
    for (const name of path.slice(shared)) open.push({ name, begin: now });
    put(tips, now, node.nanoseconds, `--k:${colour(node)}" data-node="${node.node}" tabindex="-1" title="${esc(node.operation + " in " + (node.path || "the model") + ", " + time(node.nanoseconds))}"`, node.operation);
    now += node.nanoseconds;
  }
  close(0);
  $("flame").innerHTML = layers.map((layer, i) => (layer ? `<div class="layer${i === tips ? " tips" : ""}">${layer.join("")}</div>` : "")).join("");
}

function drawKinds() {
  const most = Math.max(...ledger.operations.map((sum) => sum.share), 1e-9);
  $("kinds").innerHTML = ledger.operations.slice(0, 14).map((sum) =>
    `<button type="button" data-kind="${sum.operation}" style="--k:${kinds.get(sum.operation).colour};--p:${(100 * sum.share) / most}%">` +
    `<span><i class="dot"></i>${sum.operation} <span class="muted">×${sum.nodes}</span></span><span class="bar"><i></i></span>` +
    `<span class="num">${time(sum.nanoseconds)}</span><span class="num muted">${percent(sum.share)}</span></button>`).join("");
  const names = [...kinds.keys()].sort();
  $("kind").innerHTML = '<option value="">all operations</option>' + names.map((name) => `<option>${name}</option>`).join("");
}

// ---- The roofline: speed over operations per byte, both on logarithmic axes.
function drawRoof() {
  const bytes = (node) => node.bytes_read + node.bytes_written;
  const dots = nodes.filter((node) => node.flops > 0 && bytes(node) > 0 && node.nanoseconds > 0)
    .map((node) => ({ node, x: Math.log10(node.flops / bytes(node)), y: Math.log10((1e9 * node.flops) / node.nanoseconds) }));
  const peak = Math.log10(ledger.roofline.flops_per_second), slope = Math.log10(ledger.roofline.bytes_per_second);
  const knee = peak - slope;
  const low = Math.floor(Math.min(knee - 1, ...dots.map((dot) => dot.x))), high = Math.ceil(Math.max(knee + 1, ...dots.map((dot) => dot.x)));
  const bottom = Math.floor(Math.min(peak - 3, ...dots.map((dot) => dot.y))), top = Math.ceil(Math.max(peak, ...dots.map((dot) => dot.y)) + 0.15);
  const [W, H, left, right, up, down] = [640, 380, 78, 614, 10, 330];
  const X = (x) => (left + ((x - low) / (high - low)) * (right - left)).toFixed(1);
  const Y = (y) => (down - ((y - bottom) / (top - bottom)) * (down - up)).toFixed(1);
  let svg = `<svg viewBox="0 0 ${W} ${H}" role="img" aria-label="Roofline: ${dots.length} nodes against the device's measured limits">`;
  for (let y = bottom; y <= top; y++)
    svg += `<line class="grid" x1="${left}" x2="${right}" y1="${Y(y)}" y2="${Y(y)}"/><text x="${left - 8}" y="${Y(y)}" dy=".35em" text-anchor="end">${scaled(10 ** y, "").replace(/\.0+/, "")}</text>`;
  for (let x = low; x <= high; x++)
    svg += `<text x="${X(x)}" y="${down + 18}" text-anchor="middle">${+(10 ** x).toPrecision(1)}</text>`;
  svg += `<text x="${(left + right) / 2}" y="${H - 6}" text-anchor="middle">operations per byte</text><text x="14" y="${(up + down) / 2}" text-anchor="middle" transform="rotate(-90 14 ${(up + down) / 2})">FLOP/s</text>`;
  for (const { node, x, y } of dots)
    svg += `<circle cx="${X(x)}" cy="${Y(y)}" r="${(2.5 + 14 * Math.sqrt(node.share)).toFixed(1)}" style="--k:${colour(node)}" data-node="${node.node}"><title>${esc(node.operation + " in " + (node.path || "the model"))}</title></circle>`;
  const start = Math.max(low, bottom - slope);
  svg += `<polyline class="limit" points="${X(start)},${Y(start + slope)} ${X(knee)},${Y(peak)} ${X(high)},${Y(peak)}"/>`;
  svg += `<text class="name" x="${right}" y="${Y(peak)}" dy="-.5em" text-anchor="end">${scaled(10 ** peak, "FLOP/s")}</text></svg>`;
  $("roof").innerHTML = svg;
}

// ---- The tree.
const bar = (node, most) => `<span class="bar" style="--p:${((100 * node.nanoseconds) / most).toFixed(2)}%"><i></i></span>`;
const figures = (node, most) => bar(node, most) + `<span class="num">${time(node.nanoseconds)}</span><span class="num muted">${percent(node.nanoseconds / Math.max(1, ledger.totals.nanoseconds))}</span>`;
function row(node, most, withScope) {
  const about = withScope ? node.path : node.about && !node.path.includes(node.about) ? node.about.replace(node.path + ".", "") : "";
  return `<button type="button" data-node="${node.node}" style="--k:${colour(node)}"><span class="what"><i class="dot"></i>${esc(node.operation)} ` +
    `<span class="muted small">${node.outputs.map(shape).map(esc).join(" ")} ${esc(about)}</span></span>${figures(node, most)}</button>`;
}

function branches(list) {
  const root = { children: new Map(), nanoseconds: 0, count: 0, rows: [] };
  for (const node of list) {
    let at = root;
    for (const name of ["", ...node.path.split(".").filter(Boolean)]) {
      if (name) {
        if (!at.children.has(name)) {
          const child = { name, path: at.path ? at.path + "." + name : name, children: new Map(), nanoseconds: 0, count: 0, rows: [] };
          at.children.set(name, child);
          at.rows.push(child);
        }
        at = at.children.get(name);
      }
      at.nanoseconds += node.nanoseconds;
      at.count++;
    }
    at.rows.push(node);
  }
  return root;
}

function group(branch, most, depth, opened) {
  return branch.rows.map((item) => {
    if (!item.children) return row(item, most, false);
    const open = opened === null ? depth < 1 : opened;
    return `<details data-scope="${esc(item.path)}"${open ? " open" : ""}><summary><span class="what"><b>${esc(item.name)}</b> ` +
      `<span class="muted small">${item.count} ${item.count === 1 ? "node" : "nodes"}</span></span>${figures(item, most)}</summary><div>${group(item, most, depth + 1, opened)}</div></details>`;
  }).join("");
}

let chosen = null;
function drawTree(opened = null) {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean), kind = $("kind").value, order = $("order").value;
  const found = nodes.filter((node) => (!kind || node.operation === kind) && words.every((word) => node.words.includes(word)));
  const isFiltered = found.length < nodes.length;
  if (order === "scope") {
    const root = branches(found);
    const most = Math.max(1, ...[...root.children.values()].map((child) => child.nanoseconds));
    $("tree").innerHTML = group(root, most, 0, opened ?? (isFiltered ? true : null));
  } else {
    const list = order === "time" ? [...found].sort((a, b) => b.nanoseconds - a.nanoseconds) : found;
    const most = Math.max(1, ...found.map((node) => node.nanoseconds));
    $("tree").innerHTML = list.map((node) => row(node, most, true)).join("");
  }
  if (!found.length) $("tree").innerHTML = '<p class="empty">Nothing matches.</p>';
  const ns = found.reduce((sum, node) => sum + node.nanoseconds, 0);
  $("count").textContent = found.length + (found.length === 1 ? " node, " : " nodes, ") + time(ns) + ", " + percent(ns / Math.max(1, ledger.totals.nanoseconds));
  document.querySelectorAll("#kinds button").forEach((button) => button.classList.toggle("on", button.dataset.kind === kind));
  const shown = new Set(found.map((node) => String(node.node)));
  document.querySelectorAll("#roof circle").forEach((dot) => dot.classList.toggle("off", !shown.has(dot.dataset.node)));
  mark();
}

// ---- One node.
const prose = (text) => esc(text).replace(/`([^`]+)`/g, "<code>$1</code>").replace(/(^|[\s(])\*([^*\s][^*]*)\*/g, "$1<em>$2</em>");
function figure(name, value, more) {
  return `<div><dt>${name}</dt><dd>${value}<small>${more}</small></dd></div>`;
}

function gauge(node) {
  if (node.roofline_share === null) return "";
  const limit = node.bound === "compute" ? "computing" : "moving data";
  const rest = node.roofline_share > 1 ? "; faster than memory: its data were in a cache" : "";
  return `<div class="gauge"><span class="bar" style="--p:${Math.min(100, 100 * node.roofline_share).toFixed(1)}%;--k:${colour(node)}"><i></i></span>` +
    `<b>${percent(node.roofline_share)}</b> of the device’s limit. Bound by ${limit}, it could take ${time(node.attainable_nanoseconds)}${rest}.</div>`;
}

function range(output) {
  if (![output.min, output.mean, output.max].every(Number.isFinite))
    return `<span class="range"><span>minimum ${esc(output.min)}, mean ${esc(output.mean)}, maximum ${esc(output.max)}</span></span>`;
  const low = Math.min(0, output.min), high = Math.max(0, output.max), width = high - low || 1;
  const at = (x) => (4 + (292 * (x - low)) / width).toFixed(1);
  return `<span class="range"><svg viewBox="0 0 300 12" preserveAspectRatio="none" aria-hidden="true"><line class="base" x1="${at(output.min)}" x2="${at(output.max)}" y1="6" y2="6"/>` +
    `<line class="zero" x1="${at(0)}" x2="${at(0)}" y1="1" y2="11"/><rect class="mean" x="${at(output.mean) - 2}" y="2" width="4" height="8" rx="1"/></svg>` +
    `<span><span>min ${number(output.min)}</span><span>mean ${number(output.mean)}</span><span>max ${number(output.max)}</span></span></span>`;
}

const link = (node) => `<button type="button" class="link" data-node="${node.node}">${esc(node.operation)} %${node.node}</button> <span class="muted">${esc(node.path)}</span>`;
function source(input) {
  const from = byNumber.get(input.node);
  return `<li><code>${shape(input)}</code> ${from ? link(from) : `<span class="muted">${esc(input.kind)}</span> ${esc(input.name)}`}</li>`;
}

function wgsl(text) {
  const word = /(\/\/.*)|(@\w+)|\b(fn|let|var|if|else|for|while|loop|return|struct|const|override|alias|workgroupBarrier|storageBarrier|break|continue)\b|\b(u32|i32|f32|f16|bool|vec[234]|mat\dx\d|array|Store)\b/g;
  const paint = (line) => {
    let out = "", last = 0;
    for (const hit of line.matchAll(word)) {
      out += esc(line.slice(last, hit.index)) + `<span class="${"catw"[[1, 2, 4, 3].findIndex((i) => hit[i])]}">${esc(hit[0])}</span>`;
      last = hit.index + hit[0].length;
    }
    return out + esc(line.slice(last));
  };
  return text.replace(/\n$/, "").split("\n").map((line) => `<span class="l">${paint(line)}\n</span>`).join("");
}

function launch(launch) {
  const shader = ledger.shaders[launch.shader];
  const constants = Object.entries(launch.constants).map(([name, value]) => `${esc(name)} = ${value}`);
  const facts = [launch.workgroups.join(" × ") + " workgroups", ...constants].join(", ");
  return `<details class="shader" data-shader="${launch.shader}"><summary><b>${esc(shader.name)}.wgsl</b> <span class="muted">${facts}</span></summary>` +
    `<div class="sha">SHA-256 ${shader.sha256}</div><pre></pre></details>`;
}

function detail(node) {
  const kind = kinds.get(node.operation), bytes = node.bytes_read + node.bytes_written, seconds = node.nanoseconds / 1e9;
  const rate = (amount, unit) => (seconds > 0 ? scaled(amount / seconds, unit) : "");
  const docs = kind.documentation.filter(([title]) => title !== "Definition");
  const definition = kind.documentation.find(([title]) => title === "Definition");
  const out = readers.get(node.node) || [];
  const attributes = node.attributes.match(/\w+=(\[[^\]]*\]|\S+)/g) || [];
  return `<h3><span><i class="dot" style="--k:${kind.colour}"></i>${esc(node.operation)}</span><small>%${node.node}${node.path ? " in " + esc(node.path) : ""}</small></h3>` +
    `<p class="said">${prose(kind.summary)}</p>` +
    `<p class="place">Recorded at <code>${esc(node.file)}:${node.line}</code></p>` +
    (attributes.length ? `<p class="chips" style="margin-top:.6rem">${attributes.map((a) => `<code>${esc(a.replace("=", " = "))}</code>`).join("")}</p>` : "") +
    (definition ? `<h4>Mathematics</h4><p class="definition">${prose(definition[1])}</p>` : "") +
    `<dl class="docs">${docs.map(([title, text]) => `<dt>${title}</dt><dd>${prose(text)}</dd>`).join("")}</dl>` +
    `<h4>Numbers</h4><dl class="figures">${figure("time", time(node.nanoseconds), percent(node.share) + " of all nodes")}` +
    `${figure("work", scaled(node.flops, "FLOP"), rate(node.flops, "FLOP/s"))}${figure("traffic", scaled(bytes, "B"), rate(bytes, "B/s"))}</dl>${gauge(node)}` +
    `<h4>Reads</h4><ul class="values">${node.inputs.map(source).join("") || '<li class="muted">nothing</li>'}</ul>` +
    `<h4>Gives</h4><ul class="values">${node.outputs.map((o) => `<li><code>${shape(o)}</code>${range(o)}</li>`).join("")}</ul>` +
    `<h4>Read by</h4><ul class="values">${out.map((reader) => `<li>${link(reader)}</li>`).join("") || '<li class="muted">no node: it is a result, or is kept for the next step</li>'}</ul>` +
    `<h4>Shader</h4>${node.launches.map(launch).join("") || '<p class="muted">None: it ran on the host, by the formula of its room.</p>'}`;
}

function mark() {
  document.querySelectorAll("[data-node].on").forEach((old) => old.classList.remove("on"));
  if (chosen) document.querySelectorAll(`[data-node="${chosen.node}"]:not(.link)`).forEach((own) => own.classList.add("on"));
}

function choose(number, isScrolled = true) {
  chosen = byNumber.get(Number(number)) || chosen;
  if (!chosen) return;
  $("detail").innerHTML = detail(chosen);
  $("detail").scrollTop = 0;
  mark();
  let own = $("tree").querySelector(`[data-node="${chosen.node}"]`);
  for (let at = own; at && at !== $("tree"); at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  if (own && isScrolled) {
    const box = $("tree").getBoundingClientRect(), place = own.getBoundingClientRect();
    if (place.top < box.top || place.bottom > box.bottom) $("tree").scrollTop += place.top - box.top - box.height / 2;
  }
  history.replaceState(null, "", "#" + chosen.node);
}

document.addEventListener("click", (event) => {
  const own = event.target.closest("[data-node], [data-kind], #flame [data-scope]");
  if (!own) return;
  if (own.dataset.node) return choose(own.dataset.node, !own.closest("#tree"));
  if (own.dataset.kind) $("kind").value = $("kind").value === own.dataset.kind ? "" : own.dataset.kind;
  else $("search").value = own.dataset.scope;
  drawTree();
});
document.addEventListener("toggle", (event) => {
  const box = event.target;
  if (box.dataset.shader && box.open) box.querySelector("pre").innerHTML = wgsl(ledger.shaders[box.dataset.shader].text);
}, true);
$("tree").addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  const rows = [...$("tree").querySelectorAll("button, summary")].filter((one) => one.offsetParent);
  const next = rows[rows.indexOf(document.activeElement) + step];
  if (!next) return;
  event.preventDefault();
  next.focus();
  if (next.dataset.node) choose(next.dataset.node, false);
});
for (const id of ["search", "kind", "order"]) $(id).addEventListener("input", () => drawTree());
$("open").addEventListener("click", () => drawTree(true));
$("close").addEventListener("click", () => drawTree(false));
addEventListener("hashchange", () => choose(location.hash.slice(1)));

drawFlame();
drawKinds();
drawRoof();
drawTree();
// The node of the address, or else the slowest.
const slowest = nodes.reduce((a, b) => (b.nanoseconds > a.nanoseconds ? b : a), nodes[0]);
choose(byNumber.has(Number(location.hash.slice(1))) ? location.hash.slice(1) : slowest && slowest.node);
