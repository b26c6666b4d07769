// Places the boxes of a graph. Nothing is random: the same boxes and links get the same places.

// Boxes have a width `w` and a height `h`, and get a center `x`, `y`. Links are pairs of their indices. `aspect` is width
// by height of the area to fill. Linked boxes come near each other (Fruchterman and Reingold), and none overlap.
function placeBoxes(boxes, links, aspect) {
  const degree = boxes.map((_, index) => links.filter(link => link.includes(index)).length);
  // Many links need room for their labels, and few boxes leave it.
  const room = Math.min(Math.max(Math.sqrt(links.length / boxes.length), Math.sqrt(24 / boxes.length), 1), 1.8);
  const shape = Math.sqrt(Math.min(Math.max(aspect, 0.5), 2)), unitX = 115 * room * shape, unitY = 100 * room / shape;
  // A spiral, the boxes with most links in its center.
  const order = boxes.map((_, index) => index).sort((a, b) => degree[b] - degree[a] || a - b);
  order.forEach((index, rank) => {
    const angle = rank * 2.399963, radius = 0.7 * Math.sqrt(rank);
    Object.assign(boxes[index], { x: radius * Math.cos(angle), y: radius * Math.sin(angle) });
  });
  const steps = 400;
  for (let step = 0; step < steps; step += 1) {
    // The pull to the center keeps unlinked boxes near: against a force of 1 / distance it fills a disk evenly.
    const moves = boxes.map(box => ({ x: -2 * box.x, y: -2 * box.y }));
    const force = (a, b, strength) => {
      const dx = boxes[b].x - boxes[a].x || 0.001, dy = boxes[b].y - boxes[a].y;
      const distance = Math.max(Math.hypot(dx, dy), 0.05), size = strength(distance) / distance;
      moves[a].x += dx * size; moves[a].y += dy * size;
      moves[b].x -= dx * size; moves[b].y -= dy * size;
    };
    for (let a = 0; a < boxes.length; a += 1)
      for (let b = a + 1; b < boxes.length; b += 1) force(a, b, distance => -1 / distance);
    for (const [a, b] of links) if (a !== b) force(a, b, distance => distance * distance);
    const most = 0.4 * (1 - step / steps);
    boxes.forEach((box, index) => {
      const { x, y } = moves[index], size = Math.hypot(x, y), share = size > most ? most / size : 1;
      box.x += x * share; box.y += y * share;
    });
  }
  for (const box of boxes) { box.x *= unitX; box.y *= unitY; }
  separate(boxes, 30, 24 + 14 * room);
  const left = Math.min(...boxes.map(box => box.x - box.w / 2)), top = Math.min(...boxes.map(box => box.y - box.h / 2));
  for (const box of boxes) { box.x -= left; box.y -= top; }
}
// Moves overlapping boxes apart, along the way that is shorter.
function separate(boxes, gapX, gapY) {
  for (let pass = 0, moved = true; moved && pass < 300; pass += 1) {
    moved = false;
    for (let a = 0; a < boxes.length; a += 1) {
      for (let b = a + 1; b < boxes.length; b += 1) {
        const dx = boxes[b].x - boxes[a].x, dy = boxes[b].y - boxes[a].y;
        const byX = (boxes[a].w + boxes[b].w) / 2 + gapX - Math.abs(dx), byY = (boxes[a].h + boxes[b].h) / 2 + gapY - Math.abs(dy);
        if (byX <= 0.01 || byY <= 0.01) continue;
        moved = true;
        const axis = byX < byY ? "x" : "y", by = Math.min(byX, byY) / 2 * ((axis === "x" ? dx : dy) < 0 ? -1 : 1);
        boxes[a][axis] -= by; boxes[b][axis] += by;
      }
    }
  }
}

// The curve from box `a` to box `b`, bent by `offset` at its middle to the right of the way from the box of lower index:
// so triples of one pair are drawn apart, whatever their direction.
function curveBetween(a, b, offset, sign) {
  const dx = (b.x - a.x) * sign, dy = (b.y - a.y) * sign, length = Math.hypot(dx, dy) || 1;
  const control = { x: (a.x + b.x) / 2 - 2 * offset * dy / length, y: (a.y + b.y) / 2 + 2 * offset * dx / length };
  const start = borderPoint(a, control, 2), end = borderPoint(b, control, 4);
  return {
    path: `M${point(start)} Q${point(control)} ${point(end)}`, end, from: control,
    at: t => ({ x: (1 - t) ** 2 * start.x + 2 * t * (1 - t) * control.x + t * t * end.x,
      y: (1 - t) ** 2 * start.y + 2 * t * (1 - t) * control.y + t * t * end.y }),
  };
}
// A loop above a box, the further up the higher its rank.
function loopOver(box, rank) {
  const y = box.y - box.h / 2 - 3, up = 34 + 24 * rank, out = 30 + 12 * rank;
  const end = { x: box.x + 13, y }, from = { x: box.x + out, y: y - up };
  return { path: `M${point({ x: box.x - 13, y })} C${point({ x: box.x - out, y: y - up })} ${point(from)} ${point(end)}`,
    end, from, at: () => ({ x: box.x, y: y - 0.75 * up }) };
}
function borderPoint(box, towards, gap) {
  const dx = towards.x - box.x, dy = towards.y - box.y;
  const share = Math.min((box.w / 2 + gap) / Math.abs(dx || 1e-9), (box.h / 2 + gap) / Math.abs(dy || 1e-9));
  return { x: box.x + dx * share, y: box.y + dy * share };
}
function arrowHead({ end, from }) {
  const angle = Math.atan2(end.y - from.y, end.x - from.x);
  const corner = turn => ({ x: end.x - 10 * Math.cos(angle + turn), y: end.y - 10 * Math.sin(angle + turn) });
  return `M${point(end)} L${point(corner(0.42))} L${point(corner(-0.42))} Z`;
}
const point = ({ x, y }) => `${x.toFixed(1)},${y.toFixed(1)}`;
