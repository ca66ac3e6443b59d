"use strict";
const board = JSON.parse(document.getElementById("board").textContent);
const VECTOR = "http://www.w3.org/2000/svg"; // a name, not an address
const signed = value => (value < 0 ? "-" : "+") + Math.abs(value).toFixed(4);
const metricName = name => /^(hr|ndcg|mrr)@/.test(name) ? name.toUpperCase() : name;
const short = value => value.toLocaleString("en", { notation: "compact", maximumSignificantDigits: 3 });

function element(tag, attributes = {}, ...children) {
  const vector = ["svg", "line", "circle", "path", "text"].includes(tag);
  const made = vector ? document.createElementNS(VECTOR, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function fill(select, options, chosen) {
  select.replaceChildren(...options.map(([value, text]) => {
    const option = element("option", { value }, text);
    option.selected = String(value) === String(chosen);
    return option;
  }));
}

// Row a against row b in a view: what is declared on the board where that is asked for, else the view's pair.
function difference(table, choice, a, b, column) {
  const declared = column && table.rows[a].vs[column];
  if (declared && declared.against === b && choice.view === table.views.all[board.metric]) {
    return { middle: declared.difference, low: declared.low, high: declared.high, p: declared.p_holm,
      across: declared.kind !== "effect of the method" };
  }
  const [i, j] = a < b ? [a, b] : [b, a];
  const pairs = choice.view.pairs;
  const at = i * (2 * table.rows.length - i - 1) / 2 + (j - i - 1);
  const middle = (a < b ? 1 : -1) * pairs.difference[at];
  return { middle, low: middle - pairs.half[at], high: middle + pairs.half[at], p: pairs.p[at],
    across: betweenSystems(table.rows[a], table.rows[b]) };
}

function betweenSystems(a, b) {
  const starts = a.starts_from && b.starts_from && a.starts_from !== b.starts_from;
  return a.block !== b.block || starts || a.external || b.external;
}

const verdict = found => found.p > board.alpha ? "tie" : found.middle > 0 ? "better" : "worse";

// The difference, and beside it the interval, the verdict and p.
function differenceTexts(found) {
  const p = found.p < 0.001 ? "< 0.001" : found.p.toFixed(3);
  return [`${found.across ? "~ " : ""}${signed(found.middle)}`,
    ` [${signed(found.low)}, ${signed(found.high)}] ${verdict(found)}, p ${p}`];
}

function intervalPlot(found, scale) {
  const [width, height] = [120, 16];
  const x = value => (width / 2 + value / scale * (width / 2 - 6)).toFixed(1);
  return element("svg", { class: `interval ${verdict(found)}`, width, height, "aria-hidden": "true" },
    element("line", { class: "zero", x1: width / 2, x2: width / 2, y1: 0, y2: height }),
    element("line", { x1: x(found.low), x2: x(found.high), y1: height / 2, y2: height / 2 }),
    element("circle", { cx: x(found.middle), cy: height / 2, r: 3.5 }));
}

class Section {
  constructor(node) {
    this.node = node;
    this.table = board.tables[node.dataset.table];
    this.controls = {};
    for (const select of node.querySelectorAll("[data-control]")) {
      this.controls[select.dataset.control] = select;
      select.addEventListener("change", () => this.draw());
    }
    const { controls, table } = this;
    const [name, cutoff] = board.metric.split("@");
    fill(controls.metric, [...new Set(table.switchable.map(each => each.split("@")[0]))].map(each => [each, each.toUpperCase()]), name);
    this.fillCutoffs(cutoff);
    const users = each => table.views[each][board.metric].users.toLocaleString("en");
    fill(controls.stratum, Object.keys(table.strata).map(each => [each, `${each} (${users(each)})`]), "all");
    const declared = table.reference ? [["", table.reference]] : [];
    fill(controls.reference, [...declared, ...table.rows.map((row, index) => [index, row.name])], declared.length ? "" : 0);
    const costs = table.costs.filter(([cost]) => table.rows.some(row => row[cost] !== null));
    fill(controls.cost, costs);
    node.querySelector("[data-chart=cost]").hidden = !costs.length;
    const series = [...new Set(table.rows.flatMap(row => Object.keys(row.curves)))].sort();
    fill(controls.series, series.map(each => [each, each.replaceAll("_", " ")]), "loss");
    node.querySelector("[data-chart=curves]").hidden = !series.length;
    controls.metric.addEventListener("change", () => { this.fillCutoffs(controls.cutoff.value); this.draw(); });
    for (const hidden of node.querySelectorAll(".controls[hidden], .live")) hidden.hidden = false;
    node.querySelectorAll(".main th").forEach((head, column) =>
      head.firstElementChild.addEventListener("click", () => this.sort(column)));
    this.draw();
  }

  fillCutoffs(wanted) {
    const of = this.table.switchable.filter(each => each.startsWith(this.controls.metric.value + "@"));
    const cutoffs = of.map(each => each.split("@")[1]);
    fill(this.controls.cutoff, cutoffs.map(each => [each, each]), cutoffs.includes(wanted) ? wanted : cutoffs[0]);
  }

  draw() {
    const { controls, table } = this;
    const metric = `${controls.metric.value}@${controls.cutoff.value}`;
    const choice = { metric, view: table.views[controls.stratum.value][metric] };
    this.drawCells(choice);
    this.drawMatrix(choice);
    this.drawCost(choice);
    this.drawCurves();
  }

  // The columns that follow the choice; all others are as they were written.
  drawCells(choice) {
    const { controls, node, table } = this;
    const chosen = controls.reference.value;
    const cells = key => [...node.querySelectorAll(`.main td[data-key=${key}]`)].map(cell => [cell, Number(cell.parentNode.dataset.row)]);
    const head = (key, text) => { node.querySelector(`.main th[data-key=${key}] button`).textContent = text; };
    const against = (row, column) => table.rows[row].vs[column]?.against ?? null;
    head("score", metricName(choice.metric));
    head("reference", `vs ${chosen === "" ? table.reference : table.rows[chosen].name}`);
    for (const [cell, row] of cells("score")) {
      const mean = element("span", { class: `tier${choice.view.tier[row] ?? ""}` }, choice.view.mean[row].toFixed(4));
      this.write(cell, choice.view.mean[row], mean);
      cell.append(element("span", { class: "note" }, `± ${choice.view.half[row].toFixed(4)}`));
    }
    for (const [cell, row] of cells("rank")) {
      const [ranks, letters] = [choice.view.ranks[row], choice.view.letters[row]];
      this.write(cell, ranks && ranks[0], ranks ? `${[...new Set(ranks)].join("–")} ${letters}` : "–");
    }
    this.drawDifferences(cells("parent"), row => against(row, "parent"), "parent", choice);
    const reference = row => chosen === "" ? against(row, table.reference) : Number(chosen) === row ? null : Number(chosen);
    this.drawDifferences(cells("reference"), reference, table.reference, choice);
    const primary = choice.view === table.views.all[board.metric];
    node.querySelector(".status").textContent = primary && (chosen === "" || !table.reference)
      ? `The board's own view: ${metricName(choice.metric)}, all users. ± is half of a 95 % interval over users and seeds.`
      : `Exploratory view: ${metricName(choice.metric)}, ${table.strata[controls.stratum.value]}. Intervals by the crossed-variance t, `
        + "p by Holm over all pairs of the view.";
    const sorted = node.querySelector(".main th[aria-sort]");
    if (sorted) this.order(sorted);
  }

  write(cell, value, content) {
    cell.dataset.value = value ?? "";
    cell.replaceChildren(content);
  }

  drawDifferences(cells, other, column, choice) {
    const found = cells.map(([cell, row]) => {
      const b = other(row);
      return [cell, b === null ? null : difference(this.table, choice, row, b, column)];
    });
    const scale = Math.max(0, ...found.flatMap(([, one]) => one ? [Math.abs(one.low), Math.abs(one.high)] : [])) || 1;
    for (const [cell, one] of found) {
      const [middle, more] = one ? differenceTexts(one) : ["–", ""];
      this.write(cell, one && one.middle, middle);
      if (one) cell.prepend(intervalPlot(one, scale));
      if (one) cell.append(element("span", { class: "note" }, more));
    }
  }

  drawMatrix(choice) {
    const { rows } = this.table;
    const head = element("tr", {}, element("th"), ...rows.map(row => element("th", { scope: "col" }, row.name)));
    const lines = rows.map((row, a) => element("tr", {}, element("th", { scope: "row" }, row.name), ...rows.map((other, b) => {
      if (a === b) return element("td", {}, "");
      const found = difference(this.table, choice, a, b);
      const mark = { better: "▲", worse: "▼", tie: "=" }[verdict(found)];
      return element("td", { class: verdict(found), title: `${row.name} − ${other.name}: ${differenceTexts(found).join("")}` },
        `${found.across ? "~" : ""}${mark} ${signed(found.middle)}`);
    })));
    this.node.querySelector(".matrix").replaceChildren(
      element("table", {}, element("thead", {}, head), element("tbody", {}, ...lines)));
  }

  drawCost(choice) {
    const { controls, node, table } = this;
    const cost = controls.cost.value;
    const points = table.rows.map((row, index) => ({ name: row.name, index, x: row[cost], y: choice.view.mean[index],
      half: choice.view.half[index] })).filter(point => point.x !== null && point.x > 0);
    const front = points.filter(point => !points.some(other => other !== point && other.x <= point.x && other.y >= point.y))
      .sort((a, b) => a.x - b.x);
    const label = table.costs.find(([each]) => each === cost)?.[1] ?? "";
    drawChart(node.querySelector("[data-chart=cost] svg"), { points, lines: [{ points: front, plain: true }], logarithmic: true,
      x: `${label} (logarithmic)`, y: metricName(choice.metric) });
  }

  drawCurves() {
    const { controls, node, table } = this;
    const series = controls.series.value;
    const lines = table.rows.map((row, index) => ({ name: row.name, index, curve: row.curves[series] })).filter(line => line.curve)
      .map(line => ({ ...line, points: line.curve.step.map((step, at) => ({ x: step, y: line.curve.value[at] })) }));
    drawChart(node.querySelector("[data-chart=curves] svg"), { points: [], lines, x: "step", y: series.replaceAll("_", " ") });
  }

  sort(column) {
    const heads = [...this.node.querySelectorAll(".main th")];
    const head = heads[column];
    const first = head.classList.contains("text") || column === 0 ? "ascending" : "descending";
    const other = first === "ascending" ? "descending" : "ascending";
    const order = head.getAttribute("aria-sort") === first ? other : first;
    heads.forEach(each => each.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", order);
    this.order(head);
  }

  order(head) {
    const text = head.classList.contains("text");
    const sign = head.getAttribute("aria-sort") === "ascending" ? 1 : -1;
    const value = row => row.cells[head.cellIndex].dataset.value;
    const compare = (a, b) => text ? a.localeCompare(b) : Number(a) - Number(b);
    const body = this.node.querySelector(".main tbody");
    body.append(...[...body.rows].sort((a, b) =>
      (value(a) === "") - (value(b) === "") || sign * compare(value(a), value(b))));
  }
}

const DASHES = ["", "6 3", "2 3", "8 3 2 3", "1 2", "10 4", "4 2 1 2"];

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

// Marks and lines with their names beside them; colour is never the only difference.
function drawChart(svg, { points, lines, x, y, logarithmic = false }) {
  const all = [...points, ...lines.flatMap(line => line.points)];
  const name = points.length ? "points" : "lines";
  svg.setAttribute("aria-label", `${y} against ${x}: ` + (name === "points"
    ? points.map(point => `${point.name} ${point.y.toFixed(4)} at ${short(point.x)}`)
    : lines.filter(line => line.points.length).map(line => `${line.name} ends at ${line.points.at(-1).y.toPrecision(4)}`)).join(", "));
  svg.replaceChildren();
  if (!all.length) return;
  const [width, height, left, right, top, bottom] = [520, 320, 58, 100, 14, 44];
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
  for (const tick of ticks(yLow, yHigh)) svg.append(
    element("line", { class: "rule", x1: left, x2: width - right, y1: py(tick), y2: py(tick) }),
    text([left - 6, py(tick) + 4], Number(tick.toPrecision(3)), { "text-anchor": "end" }));
  for (const tick of ticks(xLow, xHigh, logarithmic)) svg.append(
    element("line", { class: "axis", x1: px(tick), x2: px(tick), y1: height - bottom, y2: height - bottom + 4 }),
    text([px(tick), height - bottom + 17], short(tick), { "text-anchor": "middle" }));
  svg.append(element("line", { class: "axis", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom }),
    text([left, height - 6], x), text([left, top - 3], y));
  const labels = [];
  for (const line of lines) {
    const colour = line.plain ? "var(--zero)" : `var(--c${line.index % 7})`;
    const path = line.points.map((p, at) => `${at ? "L" : "M"}${px(p.x).toFixed(1)} ${py(p.y).toFixed(1)}`).join("");
    svg.append(element("path", { d: path, fill: "none", stroke: colour, "stroke-width": 2,
      "stroke-dasharray": line.plain ? "" : DASHES[line.index % DASHES.length] }));
    const last = line.points.at(-1);
    if (!line.plain) labels.push({ x: px(last.x) + 6, y: py(last.y) + 4, name: line.name, colour });
  }
  for (const point of points) {
    const colour = `var(--c${point.index % 7})`;
    svg.append(element("line", { x1: px(point.x), x2: px(point.x), y1: py(point.y - point.half), y2: py(point.y + point.half), stroke: colour }),
      element("circle", { cx: px(point.x), cy: py(point.y), r: 4.5, fill: colour }));
    labels.push({ x: px(point.x) + 8, y: py(point.y) + 4, name: point.name, colour });
  }
  labels.sort((a, b) => a.y - b.y);
  labels.forEach((label, at) => {
    const near = labels.slice(0, at).filter(other => Math.abs(other.x - label.x) < 90);
    for (const other of near) if (label.y - other.y < 13) label.y = other.y + 13;
    const long = label.name.length > 22 ? label.name.slice(0, 21) + "…" : label.name;
    svg.append(text([label.x, label.y], long, { class: "halo", style: `fill: ${label.colour}` }));
  });
}

const sections = [...document.querySelectorAll("section[data-table]")];
sections.forEach(node => new Section(node));
const chooser = document.getElementById("choose-table");
if (chooser) {
  const show = () => sections.forEach(node => { node.hidden = node.dataset.table !== chooser.value; });
  chooser.closest(".controls").hidden = false;
  chooser.addEventListener("change", show);
  show();
}
