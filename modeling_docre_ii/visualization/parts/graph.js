// The graph of the triples of a document, in SVG. All of it is reached with one tab stop and the arrow keys.
const SHAPES = byId("shapes").namespaceURI;
const shape = (tag, properties = {}, ...children) => filled(document.createElementNS(SHAPES, tag), properties, children);
const ruler = document.createElement("canvas").getContext("2d");
function textWidth(text, font) {
  ruler.font = `${font} system-ui, -apple-system, "Segoe UI", Roboto, sans-serif`;
  return ruler.measureText(text).width;
}
const shortened = (text, length = 24) => [...text].length > length ? [...text].slice(0, length - 1).join("") + "…" : text;
const nameOf = (doc, number) => doc.entities[number].name;
const sentenceOf = (doc, triple) => `${nameOf(doc, triple.h)}, ${triple.name}, ${nameOf(doc, triple.t)}`;

// `on` has the functions `entity` (number), `triple` and `hover` (a triple or null).
function graphPanel(doc, aspect, on) {
  const numbers = new Set(doc.triples.flatMap(triple => [triple, ...triple.support]).flatMap(pair => [pair.h, pair.t]));
  const boxes = [...numbers].sort((a, b) => a - b).map(number => {
    const { name, type } = doc.entities[number], line = shortened(name);
    const width = Math.max(textWidth(line, "600 13px"), textWidth(`${number} · ${type}`, "11px"));
    return { number, line, type, w: width + 18, h: 40 };
  });
  const boxOf = new Map(boxes.map((box, index) => [box.number, { box, index }]));
  const pairs = new Map();
  for (const triple of doc.triples) {
    const key = [Math.min(triple.h, triple.t), Math.max(triple.h, triple.t)].join();
    pairs.set(key, [...pairs.get(key) ?? [], triple]);
  }
  placeBoxes(boxes, [...pairs.values()].map(([{ h, t }]) => [boxOf.get(h).index, boxOf.get(t).index]), aspect);
  const graph = { doc, on, boxOf, edges: new Map(), labels: new Map(), nodes: new Map(), items: [] };
  const lines = shape("g"), labels = shape("g", { "aria-hidden": "true" }), nodes = shape("g");
  const curves = new Map();
  for (const triples of pairs.values()) triples.forEach((triple, rank) => {
    const [from, to] = [boxOf.get(triple.h).box, boxOf.get(triple.t).box];
    curves.set(triple, triple.h === triple.t ? loopOver(from, rank)
      : curveBetween(from, to, (rank - (triples.length - 1) / 2) * 26, triple.h < triple.t ? 1 : -1));
  });
  for (const box of boxes) nodes.append(nodeOf(graph, box));
  const taken = boxes.map(box => ({ x: box.x, y: box.y, w: box.w, h: box.h }));
  doc.triples.forEach((triple, index) => {
    lines.append(edgeOf(graph, triple, index, curves.get(triple)));
    labels.append(labelOf(graph, triple, index, curves.get(triple), taken));
  });
  graph.support = shape("g", { class: "support", "aria-hidden": "true" });
  graph.items = [...graph.nodes.values(), ...graph.edges.values()];
  for (const item of graph.items.slice(1)) item.tabIndex = -1;
  const corners = [...boxes.flatMap(({ x, y, w, h }) => [{ x: x - w / 2, y: y - h / 2 }, { x: x + w / 2, y: y + h / 2 }]),
    ...[...curves.values()].flatMap(curve => [0, 0.25, 0.5, 0.75, 1].map(curve.at)), ...taken.flatMap(({ x, y, w, h }) =>
      [{ x: x - w / 2, y: y - h / 2 }, { x: x + w / 2, y: y + h / 2 }])];
  const [xs, ys] = [corners.map(corner => corner.x), corners.map(corner => corner.y)], margin = 12;
  const left = Math.min(...xs) - margin, top = Math.min(...ys) - margin;
  graph.size = { w: Math.max(...xs) - left + margin, h: Math.max(...ys) - top + margin };
  graph.node = shape("svg", {
    role: "group", viewBox: [left, top, graph.size.w, graph.size.h].map(value => value.toFixed(1)).join(" "),
    "aria-label": `Graph of ${boxes.length} entities and ${doc.triples.length} triples. The arrow keys move through it, Enter `
      + "chooses. The table of triples has the same content.",
    onkeydown: event => moveInGraph(graph, event),
  }, graph.support, lines, nodes, labels);
  return graph;
}
function button(label, onclick, onhover, properties) {
  return { role: "button", tabindex: "0", "aria-pressed": "false", "aria-label": label, onclick,
    onmouseenter: () => onhover(true), onmouseleave: () => onhover(false), ...properties };
}
function nodeOf(graph, box) {
  const { name, type } = graph.doc.entities[box.number];
  const num = graph.doc.triples.filter(triple => triple.h === box.number || triple.t === box.number).length;
  const node = shape("g", button(`Entity ${box.number}: ${name}, ${type}, ${num} triples`, () => graph.on.entity(box.number),
    () => {}, { class: "node", "--type": typeColour(type) }),
  shape("title", {}, `${name} (${type})`),
  shape("rect", { x: box.x - box.w / 2, y: box.y - box.h / 2, width: box.w, height: box.h, rx: 8 }),
  shape("text", { x: box.x, y: box.y - 2, class: "name" }, box.line),
  shape("text", { x: box.x, y: box.y + 13, class: "kind" }, `${box.number} · ${type}`));
  graph.nodes.set(box.number, node);
  return node;
}
function edgeOf(graph, triple, index, curve) {
  const label = `Triple ${index + 1}: ${sentenceOf(graph.doc, triple)}, score ${percent(triple.score)}`
    + (triple.iteration === null ? "" : `, found by ${iterationName(triple.iteration)}`);
  const node = shape("g", button(label, () => graph.on.triple(triple), on => graph.on.hover(on ? triple : null),
    { class: triple.iteration ? "edge later" : "edge" }),
  shape("title", {}, label),
  shape("path", { class: "reach", d: curve.path }), shape("path", { class: "line", d: curve.path }),
  shape("path", { class: "arrow", d: arrowHead(curve) }));
  graph.edges.set(triple, node);
  return node;
}
// The number of a triple, and the name of its relation where that covers nothing.
function labelOf(graph, triple, index, curve, taken) {
  const number = String(index + 1), places = [0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74, 0.18, 0.82].map(curve.at);
  const widths = [textWidth(`${number} ${triple.name}`, "12px") + 8, textWidth(number, "600 12px") + 8];
  const shared = (a, b, axis, size) => Math.max((a[size] + b[size]) / 2 - Math.abs(a[axis] - b[axis]), 0);
  const covered = rect => taken.reduce((sum, other) => sum + shared(rect, other, "x", "w") * shared(rect, other, "y", "h"), 0);
  const tried = widths.map(w => places.map(({ x, y }) => ({ x, y, w, h: 17, isShort: w === widths[1] })));
  const least = tried[1].reduce((best, rect) => covered(rect) < covered(best) ? rect : best);
  const rect = tried[0].find(rect => covered(rect) === 0) ?? least;
  taken.push(rect);
  const node = shape("text", { x: rect.x, y: rect.y + 4, class: rect.isShort ? "label short" : "label",
    onclick: () => graph.on.triple(triple), onmouseenter: () => graph.on.hover(triple), onmouseleave: () => graph.on.hover(null) },
  shape("tspan", { class: "number-of" }, number), shape("tspan", { class: "relation" }, ` ${triple.name}`));
  graph.labels.set(triple, node);
  return node;
}
function moveInGraph(graph, event) {
  const { items } = graph, at = items.indexOf(document.activeElement);
  const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
  if (at >= 0 && (event.key === "Enter" || event.key === " ")) items[at].dispatchEvent(new MouseEvent("click"));
  else if (to !== undefined) items[(to + items.length) % items.length].focus();
  else return;
  event.preventDefault();
  items.forEach(item => { item.tabIndex = item === document.activeElement ? 0 : -1; });
}
// Marks a triple or pair with what supports the chosen triple, or an entity with its triples.
function markGraph(graph, { pair = null, entity = null, chosen = null }) {
  const isSame = (a, b) => a.h === b.h && a.t === b.t, support = chosen?.support ?? [];
  graph.node.classList.toggle("marking", pair !== null || entity !== null);
  for (const [triple, edge] of graph.edges) {
    const isOn = pair === triple || (pair !== null && !graph.edges.has(pair) && isSame(pair, triple));
    const isNear = pair === null ? triple.h === entity || triple.t === entity : support.some(other => isSame(other, triple));
    for (const node of [edge, graph.labels.get(triple)]) {
      node.classList.toggle("on", isOn);
      node.classList.toggle("near", isNear);
    }
    edge.setAttribute("aria-pressed", String(triple === chosen));
  }
  const ends = [pair, ...support].filter(Boolean).flatMap(({ h, t }) => [h, t]);
  for (const [number, node] of graph.nodes) {
    node.classList.toggle("head", pair ? pair.h === number : number === entity);
    node.classList.toggle("tail", pair !== null && pair.t === number);
    node.classList.toggle("near", pair ? ends.includes(number)
      : graph.doc.triples.some(({ h, t }) => [h, t].includes(entity) && [h, t].includes(number)));
    node.setAttribute("aria-pressed", String(number === entity));
  }
  graph.support.replaceChildren(...support.map(({ h, t }) => {
    const [a, b] = [graph.boxOf.get(h).box, graph.boxOf.get(t).box];
    return shape("path", { d: h === t ? loopOver(a, 0).path : `M${point(borderPoint(a, b, 2))} L${point(borderPoint(b, a, 2))}` });
  }));
}
