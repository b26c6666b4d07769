// The text of a document with its entities. A page has `data.types`, the types of all its entities.
const typeColour = type => `var(--t${Math.max(data.types.indexOf(type), 0) % 8})`;

// A sentence is a list of tokens, which get a space between them, or a string. Mentions count tokens or characters.
function sentenceNode(doc, index, panel, onEntity) {
  const [units, glue] = typeof doc.sents[index] === "string" ? [[...doc.sents[index]], ""] : [doc.sents[index], " "];
  const mentions = [];
  doc.entities.forEach((entity, number) => {
    for (const [sentence, start, end, type] of entity.mentions)
      if (sentence === index) mentions.push({ number, start, end, type, length: end - start });
  });
  const cuts = [...new Set([0, units.length, ...mentions.flatMap(m => [m.start, m.end])])].sort((a, b) => a - b);
  const line = el("span");
  // Mentions may nest, overlap and share a span: the text is cut where any of them starts or ends.
  cuts.slice(0, -1).forEach((start, piece) => {
    const end = cuts[piece + 1], text = units.slice(start, end).join(glue);
    const covering = mentions.filter(m => m.start <= start && m.end >= end).sort((a, b) => a.length - b.length);
    if (!covering.length) return line.append(text, glue);
    const numbers = [...new Set(covering.map(m => m.number))];
    const goesOn = covering.some(m => m.end > end);
    const ending = [...new Set(covering.filter(m => m.end === end).map(m => m.number))];
    const node = el("span", {
      class: covering.some(m => m.length > end - start) ? "mention split" : "mention", "--type": typeColour(covering[0].type),
      title: covering.map(m => `entity ${m.number}: ${m.type}`).join("\n"), onclick: () => onEntity(covering[0].number),
    }, text, ending.length ? el("sub", {}, ending.join(",")) : null, goesOn ? glue : null);
    for (const number of numbers) (panel.mentions[number] ??= []).push(node);
    line.append(node, goesOn ? "" : glue);
  });
  return el("div", { class: "sentence" }, el("span", { class: "muted" }, String(index)), line);
}
// `onEntity` is called with the number of an entity when one of its mentions is clicked.
function textPanel(doc, onEntity) {
  const panel = { mentions: [] };
  panel.sentences = doc.sents.map((_, index) => sentenceNode(doc, index, panel, onEntity));
  panel.node = el("section", { class: "text", tabindex: "0", "aria-label": "Text" }, ...panel.sentences);
  return panel;
}
// Marks the mentions of two entities (numbers or null), sentences with a bar on the left and with one on the right.
function markText(panel, { head = null, tail = null, left = [], right = [] }) {
  const marks = ["head", "tail", "evidence", "found"];
  for (const node of panel.node.querySelectorAll(marks.map(mark => `.${mark}`).join())) node.classList.remove(...marks);
  panel.node.classList.toggle("marking", head !== null || tail !== null);
  for (const node of panel.mentions[tail] ?? []) node.classList.add("tail");
  for (const node of panel.mentions[head] ?? []) node.classList.add("head");
  for (const sentence of left) panel.sentences[sentence]?.classList.add("evidence");
  for (const sentence of right) panel.sentences[sentence]?.classList.add("found");
}
function entityNode(doc, number) {
  const { name, type, kb_id } = doc.entities[number];
  return el("span", {}, el("b", {}, `${number} `), name, " ", el("span", { class: "muted", title: kb_id }, type));
}
function entityButtons(doc, onEntity) {
  return doc.entities.map((entity, number) => el("button", { "aria-pressed": "false", "--type": typeColour(entity.type),
    onclick: () => onEntity(number) }, entityNode(doc, number)));
}
function typeChips(doc) {
  const types = data.types.filter(type => doc.entities.some(entity => entity.mentions.some(mention => mention[3] === type)));
  return types.map(type => el("span", { class: "chip", "--type": typeColour(type) }, type));
}
