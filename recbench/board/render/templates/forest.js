// Forests: a difference with its intervals and the zone of what is not found, all rows on one scale.
const forestWidth = wide => innerWidth < 640 ? (wide ? 150 : 100) : wide ? Math.min(520, Math.max(260, innerWidth * 0.22)) : 140;

// From the least to the greatest end, 0 among them; a row far beyond the others is cut, so that they stay legible.
function forestScale(found, wide) {
  const ends = found.flatMap(one => [one.low, one.high, ...one.together, -one.smallest, one.smallest]);
  const sizes = found.map(one => Math.max(Math.abs(one.together[0]), Math.abs(one.together[1]), one.smallest)).sort((a, b) => a - b);
  const most = 4 * (sizes[Math.floor(sizes.length / 2)] ?? 1);
  const low = Math.max(-most, Math.min(0, ...ends));
  const high = Math.min(most, Math.max(0, ...ends));
  const width = forestWidth(wide);
  const span = high - low || 1;
  return { low, high, width, x: value => 7 + (Math.min(high, Math.max(low, value)) - low) / span * (width - 14) };
}

function forestPlot(found, { low, high, width, x }) {
  const height = 18;
  const at = value => x(value).toFixed(1);
  const middle = height / 2;
  const line = (name, [from, to]) => element("line", { class: name, x1: at(from), x2: at(to), y1: middle, y2: middle });
  const plot = element("svg", { class: `interval ${verdict(found)}`, viewBox: `0 0 ${width} ${height}`, style: `width: ${width}px`, "aria-hidden": "true" },
    element("rect", { class: "zone", x: at(-found.smallest), width: (x(found.smallest) - x(-found.smallest)).toFixed(1), y: 0, height }),
    element("line", { class: "zero", x1: at(0), x2: at(0), y1: 0, y2: height }));
  const beyond = found.middle < low || found.middle > high;
  plot.append(...(beyond
    ? [element("path", { d: found.middle < low ? `M9 3L2 ${middle}L9 ${height - 3}Z` : `M${width - 9} 3L${width - 2} ${middle}L${width - 9} ${height - 3}Z` })]
    : [line("together", found.together), line("single", [found.low, found.high]), element("circle", { cx: at(found.middle), cy: middle, r: 4 })]));
  return plot;
}

function forestAxis({ low, high, width, x }) {
  const marks = ticks(low, high).filter(tick => width > 200 || tick === 0 || Math.abs(x(tick) - x(0)) > 40);
  const digits = Math.min(6, Math.max(0, Math.ceil(-Math.log10(Math.abs((marks[1] ?? 1) - (marks[0] ?? 0)) || 1) - 1e-9)));
  return element("svg", { class: "forest-axis", viewBox: `0 0 ${width} 16`, style: `width: ${width}px`, "aria-hidden": "true" },
    ...marks.map(tick => element("text", { x: Math.min(width - 14, Math.max(14, x(tick))).toFixed(1), y: 12, "text-anchor": "middle" },
      Math.abs(tick) < 1e-12 ? "0" : tick.toFixed(digits))));
}

// The ranks that a row may have, among all.
function rankBar([first, last], rows) {
  const x = rank => 4 + (rows < 2 ? 0 : (rank - 1) / (rows - 1) * 52);
  return element("svg", { class: "rank-bar", viewBox: "0 0 60 10", "aria-hidden": "true" },
    element("line", { class: "rail", x1: 4, x2: 56, y1: 5, y2: 5 }),
    element("line", { class: "range", x1: x(first), x2: x(last) + 0.01, y1: 5, y2: 5 }));
}
