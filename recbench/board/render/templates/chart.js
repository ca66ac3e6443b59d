// Charts: marks and lines with their names beside them.
const DASHES = ["", "6 3", "2 3", "8 3 2 3", "1 2", "10 4", "4 2 1 2"];
// Where a name may stand: so far to the side, so many lines below, and which end of it is there.
const BESIDE_A_POINT = [0, -1, 1, -2, 2, -3, 3, -4, 4, -5, 5].flatMap(lines => [[9, lines, "start"], [-9, lines, "end"]]);
const BESIDE_A_LINE = [0, ...[...Array(20).keys()].flatMap(at => [at + 1, -at - 1])].map(lines => [6, lines, "start"]);

function ticks(low, high, logarithmic) {
  if (logarithmic) {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
      for (const digit of [1, 2, 5]) found.push(digit * 10 ** power);
    const inside = found.filter(tick => tick >= low && tick <= high);
    return inside.length > 6 ? inside.filter(tick => /^1/.test(tick.toExponential())) : inside;
  }
  const rough = (high - low) / 4;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(each => each * unit).find(each => each >= rough);
  const found = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high + step * 1e-9; tick += step) found.push(tick);
  return found;
}

// Colour is never the only difference.
function drawChart(svg, { points, lines, x, y, logarithmic = false }) {
  const all = [...points, ...lines.flatMap(line => line.points)];
  const name = points.length ? "points" : "lines";
  svg.setAttribute("aria-label", `${y} against ${x}: ` + (name === "points"
    ? points.map(point => `${point.name} ${point.y.toFixed(4)} at ${short(point.x)}`)
    : lines.filter(line => line.points.length).map(line => `${line.name} ends at ${line.points.at(-1).y.toPrecision(4)}`)).join(", "));
  svg.replaceChildren();
  if (!all.length) return;
  const size = parseFloat(getComputedStyle(svg).fontSize) || 12;
  const longest = Math.max(0, ...[...points, ...lines].map(each => Math.min(22, (each.name ?? "").length)));
  const right = Math.min(190, Math.max(60, 14 + longest * size * 0.56));
  const [width, height, left, top, bottom] = [520, 320, 58, 22, 44];
  const ends = (values, spare) => {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const room = (high - low) * spare || Math.abs(high) * 0.1 || 1;
    return [low - room, high + room];
  };
  const [xLow, xHigh] = logarithmic ? ends(all.map(p => Math.log(p.x)), 0.06).map(Math.exp) : ends(all.map(p => p.x), 0.02);
  const [yLow, yHigh] = ends(all.flatMap(p => [p.y - (p.half ?? 0), p.y + (p.half ?? 0)]), 0.05);
  const along = value => logarithmic ? Math.log(value / xLow) / Math.log(xHigh / xLow) : (value - xLow) / (xHigh - xLow);
  const px = value => left + along(value) * (width - left - right);
  const py = value => height - bottom - (value - yLow) / (yHigh - yLow) * (height - top - bottom);
  const text = (at, content, more = {}) => element("text", { x: at[0], y: at[1], ...more }, content);
  const levels = ticks(yLow, yHigh);
  const digits = Math.min(Math.max(0, Math.ceil(-Math.log10(levels[1] - levels[0]) - 1e-9)) || 0, 8);
  for (const tick of levels) svg.append(
    element("line", { class: "rule", x1: left, x2: width - right, y1: py(tick), y2: py(tick) }),
    text([left - 6, py(tick) + 4], tick < 1e4 ? (tick || 0).toFixed(digits) : short(tick), { "text-anchor": "end" }));
  for (const tick of ticks(xLow, xHigh, logarithmic)) svg.append(
    element("line", { class: "axis", x1: px(tick), x2: px(tick), y1: height - bottom, y2: height - bottom + 4 }),
    text([px(tick), height - bottom + 17], short(tick), { "text-anchor": "middle" }));
  svg.append(element("line", { class: "axis", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom }),
    text([left, height - 6], x), text([left, top - 7], y));
  const labels = [];
  const taken = []; // boxes that no label should cover
  for (const line of lines) {
    const colour = line.plain ? "var(--zero)" : `var(--c${line.index % 7})`;
    const path = line.points.map((p, at) => `${at ? "L" : "M"}${px(p.x).toFixed(1)} ${py(p.y).toFixed(1)}`).join("");
    const drawn = element("path", { d: path, fill: "none", stroke: colour, "stroke-width": line.plain ? 1 : 2,
      "stroke-dasharray": line.plain ? "" : DASHES[line.index % DASHES.length] });
    svg.append(drawn);
    if (line.plain) continue;
    const last = line.points.at(-1);
    drawn.append(element("title", {}, `${line.name}: ${last.y.toPrecision(4)} at step ${last.x}`));
    labels.push({ at: [px(last.x), py(last.y)], name: line.name, colour, offsets: BESIDE_A_LINE });
  }
  for (const point of points) {
    const colour = `var(--c${point.index % 7})`;
    const [cx, cy, high, low] = [px(point.x), py(point.y), py(point.y + point.half), py(point.y - point.half)];
    svg.append(element("g", {}, element("title", {}, `${point.name}: ${point.y.toFixed(4)} at ${short(point.x)}`),
      element("line", { x1: cx, x2: cx, y1: low, y2: high, stroke: colour }), element("circle", { cx, cy, r: 4.5, fill: colour })));
    taken.push([cx - 5, cx + 5, cy - 5, cy + 5], [cx - 1, cx + 1, high, low]);
    labels.push({ at: [cx, cy], name: point.name, colour, offsets: BESIDE_A_POINT });
  }
  for (const label of labels.sort((a, b) => a.at[1] - b.at[1])) {
    const long = label.name.length > 22 ? label.name.slice(0, 21) + "…" : label.name;
    const [dx, dy, anchor] = freest(label, long.length, size, taken, [0, width, top, height - bottom + size]);
    const [x, y] = [label.at[0] + dx, label.at[1] + dy];
    if (label.offsets === BESIDE_A_POINT && Math.abs(dy) > 1.5 * size)
      svg.append(element("line", { class: "leader", x1: label.at[0], y1: label.at[1], x2: x - Math.sign(dx) * 2, y2: y - 0.3 * size }));
    svg.append(text([x, y], long, { class: "halo", "text-anchor": anchor, style: `fill: ${label.colour}` }));
  }
}

// Where a label of so many letters covers least of what is there, nearest first; its box is then taken.
function freest(label, letters, size, taken, [left, right, top, bottom]) {
  const width = letters * size * 0.56;
  const choices = label.offsets.map(([dx, lines, anchor], order) => {
    const dy = (lines * 1.1 + 0.3) * size;
    const x = label.at[0] + dx - { start: 0, middle: width / 2, end: width }[anchor];
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
