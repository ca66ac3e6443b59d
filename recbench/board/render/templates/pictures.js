// The pictures of a section, from the rows that are shown.
const GROUPS = { popularity: ["popularity of the target", ["head", "mid", "tail"]], history: ["length of the history", ["long", "medium", "short"]] };

const styleOf = (table, row, index) => ({ index, name: row.brief, colour: colourOf(row),
  shape: Math.max(0, [...new Set(table.rows.map(each => each.block))].indexOf(row.block)) });

function drawCost(section, choice) {
  const { controls, node, table } = section;
  const cost = controls.cost.value;
  const points = section.drawn().map(([row, index]) => ({ ...styleOf(table, row, index), x: row[cost], y: choice.view.mean[index],
    half: choice.view.half[index] })).filter(point => point.x > 0);
  const front = points.filter(point => !points.some(other => other !== point && other.x <= point.x && other.y >= point.y))
    .sort((a, b) => a.x - b.x);
  const steps = front.flatMap((point, at) => at ? [{ x: point.x, y: front[at - 1].y }, point] : [point]);
  const label = table.costs.find(([each]) => each === cost)?.[1] ?? "";
  drawChart(node.querySelector("[data-chart=cost] svg"), { points, lines: [{ points: steps }], logarithmic: true,
    x: `${label} (logarithmic)`, y: choice.said });
}

// A group's mean for each third of the targets or of the histories; the rows stand beside each other, not on each other.
function drawGroups(section, choice) {
  const { controls, node, table } = section;
  const wanted = GROUPS[controls.groups.value];
  if (!wanted) return;
  const names = wanted[1].filter(name => table.views[name]);
  const rows = section.drawn();
  const aside = place => rows.length < 2 ? 0 : (place / (rows.length - 1) - 0.5) * 0.3;
  const lines = rows.map(([row, index], place) => ({ ...styleOf(table, row, index), points: names.map((name, at) => {
    const view = table.views[name][choice.metric];
    return { x: at + aside(place), y: view.mean[index], half: view.half[index] };
  }) }));
  const places = names.map(name => `${name} (${table.views[name][choice.metric].users.toLocaleString("en")})`);
  drawChart(node.querySelector("[data-chart=groups] svg"), { points: [], lines, places, x: wanted[0], y: metricName(choice.metric) });
}

function drawCurves(section) {
  const { controls, node, table } = section;
  const series = controls.series.value;
  const lines = section.drawn().filter(([row]) => row.curves[series]).map(([row, index]) => ({ ...styleOf(table, row, index),
    points: row.curves[series].step.map((step, at) => ({ x: step, y: row.curves[series].value[at] })) }));
  drawChart(node.querySelector("[data-chart=curves] svg"), { points: [], lines, x: "step", y: series.replaceAll("_", " ") });
}

const MOST_WORDS = 10; // rows, beyond which a cell of the matrix has its mark alone

function drawMatrix(section, choice) {
  const { table, node } = section;
  const shared = row => choice.view.letters[row] ? [" ", element("span", { class: "note" }, choice.view.letters[row])] : [];
  const all = section.drawn();
  const brief = all.length > MOST_WORDS;
  const head = element("tr", {}, element("td"), ...all.map(([row, index]) => element("th", { scope: "col", title: row.title },
    brief ? String(index + 1) : row.title)));
  const lines = all.map(([row, a]) => element("tr", {}, element("th", { scope: "row" }, brief ? `${a + 1} ` : "", row.title, ...shared(a)), ...all.map(([other, b]) => {
    if (a === b) return element("td", {}, "");
    const found = difference(table, choice, a, b);
    const mark = { better: "▲", worse: "▼", tie: "=" }[verdict(found)];
    const words = brief ? "" : ` ${signed(found.middle)}`;
    return element("td", { class: verdict(found), title: `${row.title} − ${other.title}: ${differenceTexts(found).join(" ")}` },
      `${found.across ? "~" : ""}${mark}${words}${found.checkpoints ? "†" : ""}`);
  })));
  node.querySelector(".matrix").replaceChildren(
    element("table", { class: brief ? "brief" : "" }, element("thead", {}, head), element("tbody", {}, ...lines)));
}

// A button for each row that hides it in the pictures, and one that leaves it alone there.
function drawChips(section) {
  const { table, node, hidden } = section;
  const holder = node.querySelector(".chips");
  const listed = table.rows.map((row, index) => [row, index]).filter(([, index]) => section.shown[index]);
  const focused = document.activeElement?.dataset.chip;
  const change = rows => { section.hidden = new Set(rows); section.draw(); toAddress(section); };
  const others = index => listed.map(([, other]) => other).filter(other => other !== index);
  const chips = listed.map(([row, index]) => {
    const style = styleOf(table, row, index);
    const swatch = element("svg", { viewBox: "0 0 14 14", "aria-hidden": "true" }, markOf(style.shape, 7, 7, { fill: style.colour }));
    const toggle = element("button", { type: "button", "aria-pressed": String(!hidden.has(index)), "data-chip": `row ${index}` }, swatch, row.brief);
    const only = element("button", { type: "button", class: "only", "data-chip": `only ${index}`, "aria-label": `only ${row.brief}` }, "only");
    toggle.addEventListener("click", () => change(hidden.has(index) ? [...hidden].filter(each => each !== index) : [...hidden, index]));
    only.addEventListener("click", () => change(others(index)));
    const chip = element("span", { class: "chip" }, toggle, only);
    for (const [event, on] of [["pointerenter", true], ["focusin", true], ["pointerleave", false], ["focusout", false]])
      chip.addEventListener(event, () => light(node, on ? index : null));
    return chip;
  });
  const all = element("button", { type: "button", class: "all", "data-chip": "all" }, "Show all");
  all.hidden = !hidden.size;
  all.addEventListener("click", () => change([]));
  holder.replaceChildren(...chips, all);
  if (focused) holder.querySelector(`[data-chip="${focused}"]`)?.focus();
}

function light(node, index) {
  for (const svg of node.querySelectorAll("svg.chart")) svg.classList.toggle("dim", index !== null);
  for (const mark of node.querySelectorAll("[data-mark]")) mark.classList.toggle("lit", Number(mark.dataset.mark) === index);
}
