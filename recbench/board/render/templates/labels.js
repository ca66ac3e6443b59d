// Names beside marks and lines, placed so that all can be read.
const MOST_LETTERS = 30;
const cut = name => name.length > MOST_LETTERS ? `${name.slice(0, MOST_LETTERS - 1)}…` : name;

// Where the name of a point may stand: so far to the side, so many lines below, and which end of it is there.
const BESIDE = [0, ...[...Array(9).keys()].flatMap(at => [-at - 1, at + 1])].flatMap(lines => [[9, lines, "start"], [-9, lines, "end"]]);

function namePoints(labels, taken, size, room) {
  for (const label of labels.sort((a, b) => a.at[1] - b.at[1])) {
    const name = cut(label.name);
    const [dx, dy, anchor] = freest(label, name.length, size, taken, room);
    const [x, y] = [label.at[0] + dx, label.at[1] + dy];
    if (Math.abs(dy) > 1.5 * size)
      label.group.append(element("line", { class: "leader", x1: label.at[0], y1: label.at[1], x2: x - Math.sign(dx) * 2, y2: y - 0.3 * size }));
    label.group.append(element("text", { x: x.toFixed(1), y: y.toFixed(1), class: "halo", "text-anchor": anchor, style: `fill: ${label.colour}` }, name));
  }
}

// Where a label of so many letters covers least of what is there, nearest first; its box is then taken.
function freest(label, letters, size, taken, [left, right, top, bottom]) {
  const width = letters * size * 0.56;
  const choices = BESIDE.map(([dx, lines, anchor], order) => {
    const dy = (lines * 1.1 + 0.3) * size;
    const x = label.at[0] + dx - (anchor === "end" ? width : 0);
    const y = label.at[1] + dy;
    const box = [x, x + width, y - 0.8 * size, y + 0.25 * size];
    const covered = taken.reduce((sum, other) => sum + shared(box, other), 0);
    const outside = Math.max(left - box[0], 0) + Math.max(box[1] - right, 0) + Math.max(top - box[2], 0) + Math.max(box[3] - bottom, 0);
    return { offset: [dx, dy, anchor], box, cost: covered + 100 * outside + order };
  });
  const best = choices.reduce((a, b) => b.cost < a.cost ? b : a);
  taken.push(best.box);
  return best.offset;
}

function shared([l, r, t, b], [left, right, top, bottom]) {
  return Math.max(0, Math.min(r, right) - Math.max(l, left)) * Math.max(0, Math.min(b, bottom) - Math.max(t, top));
}

// The names of lines stand in one column, each as near to its end as the others leave it.
function nameLines(lines, { at, top, bottom, size }) {
  const heights = spread(lines.map(line => line.y), Math.min(size * 1.2, (bottom - top) / Math.max(1, lines.length - 1)), top, bottom);
  lines.forEach((line, number) => {
    const y = heights[number];
    line.group.append(element("path", { class: "leader", fill: "none", d: `M${(line.x + 4).toFixed(1)} ${line.y.toFixed(1)}L${at - 4} ${y.toFixed(1)}` }),
      element("text", { x: at, y: (y + 0.3 * size).toFixed(1), class: "halo", style: `fill: ${line.colour}` }, cut(line.name)));
  });
}

// The positions nearest to the wanted ones that keep `gap` between neighbours, between `low` and `high`.
function spread(wanted, gap, low, high) {
  const start = ({ members, sum }) => Math.min(Math.max(sum / members.length, low), Math.max(low, high - (members.length - 1) * gap));
  const order = wanted.map((_, at) => at).sort((a, b) => wanted[a] - wanted[b]);
  const groups = [];
  for (const at of order) {
    groups.push({ members: [at], sum: wanted[at] });
    while (groups.length > 1) {
      const [a, b] = groups.slice(-2);
      if (start(a) + a.members.length * gap <= start(b)) break;
      // `sum` is of the places where each member would like the first one to be
      groups.splice(-2, 2, { members: [...a.members, ...b.members], sum: a.sum + b.sum - a.members.length * b.members.length * gap });
    }
  }
  const found = [];
  for (const group of groups) group.members.forEach((at, number) => { found[at] = start(group) + number * gap; });
  return found;
}
