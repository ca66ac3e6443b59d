// Charts: marks and lines with their names beside them, as wide as the page gives them room.
const DASHES = ["", "6 3", "2 3", "8 3 2 3"];

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

// Of values, with some room at both ends.
function ends(values, spare) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = (high - low) * spare || Math.abs(high) * 0.1 || 1;
  return [low - room, high + room];
}

// The mark of a row's block: colour is never the only difference.
function markOf(shape, x, y, attributes) {
  const at = points => points.map(([dx, dy]) => `${(x + dx).toFixed(1)},${(y + dy).toFixed(1)}`).join(" ");
  if (shape % 4 === 1) return element("polygon", { points: at([[-4, -4], [4, -4], [4, 4], [-4, 4]]), ...attributes });
  if (shape % 4 === 2) return element("polygon", { points: at([[0, -5.5], [5.2, 3.8], [-5.2, 3.8]]), ...attributes });
  if (shape % 4 === 3) return element("polygon", { points: at([[0, -5.5], [5.5, 0], [0, 5.5], [-5.5, 0]]), ...attributes });
  return element("circle", { cx: x, cy: y, r: 4.5, ...attributes });
}

// Points are single marks, named beside them; lines are named where they end. `places` are names along x, at 0, 1, 2 ...
function drawChart(svg, { points, lines, x, y, logarithmic = false, places }) {
  const all = [...points, ...lines.flatMap(line => line.points)];
  const named = [...points, ...lines].filter(each => each.name !== undefined);
  svg.setAttribute("aria-label", `${y} against ${x}: ` + (points.length
    ? points.map(point => `${point.name} ${point.y.toFixed(4)} at ${short(point.x)}`)
    : named.filter(line => line.points.length).map(line => `${line.name} ends at ${line.points.at(-1).y.toPrecision(4)}`)).join(", "));
  svg.replaceChildren();
  svg.classList.toggle("many", named.length > 8);
  const size = parseFloat(getComputedStyle(svg).fontSize) || 12;
  const width = Math.max(300, Math.round(svg.parentNode.clientWidth || 520));
  const height = Math.round(Math.min(Math.max(320, named.length * size * 1.35 + 90), Math.max(320, 0.9 * width)));
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  if (!all.length) {
    svg.append(element("text", { x: 8, y: 24 }, "No row to draw has these numbers."));
    return;
  }
  const longest = Math.max(0, ...named.map(each => Math.min(30, each.name.length)));
  const right = Math.min(0.4 * width, 34 + longest * size * 0.56);
  const [left, top, bottom] = [58, 24, 44];
  const span = places ? [-0.25, places.length - 0.75] : logarithmic ? ends(all.map(p => Math.log(p.x)), 0.06).map(Math.exp) : ends(all.map(p => p.x), 0.02);
  const [xLow, xHigh] = span;
  const [yLow, yHigh] = ends(all.flatMap(p => [p.y - (p.half ?? 0), p.y + (p.half ?? 0)]), 0.05);
  const along = value => logarithmic ? Math.log(value / xLow) / Math.log(xHigh / xLow) : (value - xLow) / (xHigh - xLow);
  const px = value => left + along(value) * (width - left - right);
  const py = value => height - bottom - (value - yLow) / (yHigh - yLow) * (height - top - bottom);
  const text = (at, content, more = {}) => element("text", { x: at[0].toFixed(1), y: at[1].toFixed(1), ...more }, content);
  const levels = ticks(yLow, yHigh);
  const digits = Math.min(Math.max(0, Math.ceil(-Math.log10(levels[1] - levels[0]) - 1e-9)) || 0, 8);
  for (const tick of levels) svg.append(
    element("line", { class: "rule", x1: left, x2: width - right, y1: py(tick), y2: py(tick) }),
    text([left - 6, py(tick) + 4], tick < 1e4 ? (tick || 0).toFixed(digits) : short(tick), { "text-anchor": "end" }));
  const stops = places ? places.map((name, at) => [at, name]) : ticks(xLow, xHigh, logarithmic).map(tick => [tick, short(tick)]);
  for (const [stop, name] of stops) svg.append(
    element("line", { class: "axis", x1: px(stop), x2: px(stop), y1: height - bottom, y2: height - bottom + 4 }),
    text([px(stop), height - bottom + 17], name, { "text-anchor": "middle" }));
  svg.append(element("line", { class: "axis", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom }),
    text([left, height - 6], x), text([left, top - 9], y));
  const taken = []; // boxes that no label should cover
  const beside = [];
  for (const line of lines.filter(line => line.points.length)) {
    const path = line.points.map((p, at) => `${at ? "L" : "M"}${px(p.x).toFixed(1)} ${py(p.y).toFixed(1)}`).join("");
    const drawn = element("path", { d: path, fill: "none", stroke: line.colour ?? "var(--zero)", "stroke-width": line.name === undefined ? 1 : 2,
      "stroke-dasharray": line.name === undefined ? "" : DASHES[(line.shape ?? 0) % DASHES.length] });
    if (line.name === undefined) { svg.append(drawn); continue; }
    const last = line.points.at(-1);
    const group = element("g", { "data-mark": line.index }, element("title", {}, `${line.name}: ${last.y.toPrecision(4)}`), drawn);
    for (const p of line.points.filter(p => p.half !== undefined)) group.append(
      element("line", { class: "spread", x1: px(p.x), x2: px(p.x), y1: py(p.y - p.half), y2: py(p.y + p.half), stroke: line.colour }),
      markOf(line.shape, px(p.x), py(p.y), { fill: line.colour }));
    svg.append(group);
    beside.push({ x: px(last.x), y: py(last.y), group, ...line });
  }
  nameLines(beside, { at: width - right + 12, top, bottom: height - bottom, size });
  const labels = points.map(point => {
    const [cx, cy, high, low] = [px(point.x), py(point.y), py(point.y + point.half), py(point.y - point.half)];
    const group = element("g", { "data-mark": point.index }, element("title", {}, `${point.name}: ${point.y.toFixed(4)} at ${short(point.x)}`),
      element("line", { class: "spread", x1: cx, x2: cx, y1: low, y2: high, stroke: point.colour }), markOf(point.shape, cx, cy, { fill: point.colour }));
    svg.append(group);
    taken.push([cx - 5, cx + 5, cy - 5, cy + 5], [cx - 1, cx + 1, high, low]);
    return { at: [cx, cy], group, ...point };
  });
  namePoints(labels, taken, size, [left, width, top - size, height - bottom + size]);
}
