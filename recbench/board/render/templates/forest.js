// Forests: a difference with its intervals and the zone of what is not found, all rows on one scale.
// The width of the main one: what the other columns leave; on a narrow screen the words stand below it.
const forestRoom = (screen, left) => screen < 640 ? 150 : Math.min(760, Math.max(180, Math.floor(left)));

// From the least to the greatest end, 0 among them; a row far beyond the others is cut, so that they stay legible.
function forestScale(found, width) {
  const ends = found.flatMap(one => [one.low, one.high, ...one.together, -one.smallest, one.smallest]);
  const sizes = found.map(one => Math.max(Math.abs(one.together[0]), Math.abs(one.together[1]), one.smallest)).sort((a, b) => a - b);
  const most = 4 * (sizes[Math.floor(sizes.length / 2)] ?? 1);
  const low = Math.max(-most, Math.min(0, ...ends));
  const high = Math.min(most, Math.max(0, ...ends));
  const span = high - low || 1;
  return { low, high, width, x: value => 7 + (Math.min(high, Math.max(low, value)) - low) / span * (width - 14) };
}

// The marks of one difference in a band of such a height.
function forestMarks(found, { low, high, width, x }, height = 18) {
  const at = value => x(value).toFixed(1);
  const middle = height / 2;
  const line = (name, [from, to]) => element("line", { class: name, x1: at(from), x2: at(to), y1: middle, y2: middle });
  const beyond = found.middle < low || found.middle > high;
  return [
    element("rect", { class: "zone", x: at(-found.smallest), width: (x(found.smallest) - x(-found.smallest)).toFixed(1), y: 0, height }),
    element("line", { class: "zero", x1: at(0), x2: at(0), y1: 0, y2: height }),
    ...(beyond
      ? [element("path", { d: found.middle < low ? `M9 3L2 ${middle}L9 ${height - 3}Z` : `M${width - 9} 3L${width - 2} ${middle}L${width - 9} ${height - 3}Z` })]
      : [line("together", found.together), line("single", [found.low, found.high]), element("circle", { cx: at(found.middle), cy: middle, r: 4 })])];
}

const forestPlot = (found, scale) => element("svg", { class: `interval ${verdict(found)}`, viewBox: `0 0 ${scale.width} 18`,
  style: `width: ${scale.width}px`, "aria-hidden": "true" }, ...forestMarks(found, scale));

function axisMarks({ low, high, width, x }) {
  const marks = ticks(low, high).filter(tick => width > 200 || tick === 0 || Math.abs(x(tick) - x(0)) > 40);
  const digits = Math.min(6, Math.max(0, Math.ceil(-Math.log10(Math.abs((marks[1] ?? 1) - (marks[0] ?? 0)) || 1) - 1e-9)));
  return marks.map(tick => element("text", { x: Math.min(width - 14, Math.max(14, x(tick))).toFixed(1), y: 12, "text-anchor": "middle" },
    Math.abs(tick) < 1e-12 ? "0" : tick.toFixed(digits)));
}

const forestAxis = scale => element("svg", { class: "forest-axis", viewBox: `0 0 ${scale.width} 16`, style: `width: ${scale.width}px`,
  "aria-hidden": "true" }, ...axisMarks(scale));

// The main view as one picture, for a paper: names, differences to the reference, and the verdicts in words.
function forestPicture(rows, heading) {
  const scale = forestScale(rows.map(row => row.found).filter(found => found), 420);
  const names = 10 + 7 * Math.max(...rows.map(row => Math.min(44, row.title.length)));
  const band = (number, ...marks) => element("g", { transform: `translate(0 ${54 + 24 * number})` }, ...marks);
  const lines = rows.map(({ title, found }, number) => band(number,
    element("text", { x: 8, y: 13 }, title.slice(0, 44)),
    ...found ? [element("g", { class: `interval ${verdict(found)}`, transform: `translate(${names} 0)` }, ...forestMarks(found, scale))] : [],
    element("text", { x: names + scale.width + 12, y: 13 }, found ? differenceTexts(found).join(" ") : "reference")));
  const size = [names + scale.width + 330, 60 + 24 * rows.length];
  return element("svg", { class: "chart", width: size[0], height: size[1], viewBox: `0 0 ${size.join(" ")}`, role: "img" },
    element("text", { x: 8, y: 18, "font-weight": "600" }, heading),
    element("g", { transform: `translate(${names} 30)` }, ...axisMarks(scale)), ...lines);
}

// The ranks that a row may have, among all.
function rankBar([first, last], rows) {
  const x = rank => 4 + (rows < 2 ? 0 : (rank - 1) / (rows - 1) * 52);
  return element("svg", { class: "rank-bar", viewBox: "0 0 60 10", "aria-hidden": "true" },
    element("line", { class: "rail", x1: 4, x2: 56, y1: 5, y2: 5 }),
    element("line", { class: "range", x1: x(first), x2: x(last) + 0.01, y1: 5, y2: 5 }));
}
