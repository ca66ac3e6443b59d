"use strict";
const board = JSON.parse(document.getElementById("board").textContent);
const VECTOR = "http://www.w3.org/2000/svg"; // a name, not an address
const signed = value => (value < 0 ? "-" : "+") + Math.abs(value).toFixed(4);
const metricName = name => /^(hr|ndcg|mrr)@/.test(name) ? name.toUpperCase() : name;
const short = value => (value || 0).toLocaleString("en", { notation: "compact", maximumSignificantDigits: 3 });

function element(tag, attributes = {}, ...children) {
  const vector = ["svg", "g", "line", "circle", "path", "rect", "text", "title"].includes(tag);
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

const POWER_SHARE = 0.43; // the t of 80 % power over that of a 95 % interval, with many degrees of freedom

// Row a against row b in a view: what is declared on the board where that is asked for, else the view's pair.
function difference(table, choice, a, b, column) {
  const declared = column && table.rows[a].vs[column];
  if (declared && declared.against === b && choice.view === table.views.all[board.metric]) {
    return { middle: declared.difference, low: declared.low, high: declared.high, p: declared.p_holm,
      together: [declared.low_together, declared.high_together], across: declared.kind !== "effect of the method",
      checkpoints: ofCheckpoints(table, a, b), smallest: declared.smallest_difference };
  }
  const [i, j] = a < b ? [a, b] : [b, a];
  const pairs = choice.view.pairs;
  const at = i * (2 * table.rows.length - i - 1) / 2 + (j - i - 1);
  const middle = (a < b ? 1 : -1) * pairs.difference[at];
  return { middle, low: middle - pairs.half[at], high: middle + pairs.half[at], p: pairs.p[at],
    together: together(middle, pairs.half_together[at], pairs.p[at]),
    smallest: pairs.half_together[at] + POWER_SHARE * pairs.half[at],
    across: betweenSystems(table.rows[a], table.rows[b]), checkpoints: ofCheckpoints(table, a, b) };
}

// The interval that holds with those of all pairs; it ends at 0 where one of Holm's later steps finds the difference.
function together(middle, half, p) {
  const [low, high] = [middle - half, middle + half];
  return p > board.alpha ? [low, high] : middle > 0 ? [Math.max(low, 0), high] : [low, Math.min(high, 0)];
}

const ofCheckpoints = (table, a, b) => [a, b].some(row => table.rows[row].scope !== "methods");

function betweenSystems(a, b) {
  const starts = a.starts_from && b.starts_from && a.starts_from !== b.starts_from;
  return a.block !== b.block || starts || a.external || b.external;
}

const verdict = found => found.p > board.alpha ? "tie" : found.middle > 0 ? "better" : "worse";

// The difference, its interval, and the verdict with p.
function differenceTexts(found) {
  const p = found.p < 0.001 ? "< 0.001" : found.p.toFixed(3);
  return [`${found.across ? "~ " : ""}${signed(found.middle)}${found.checkpoints ? "†" : ""}`, `[${signed(found.low)}, ${signed(found.high)}]`,
    `${verdict(found)}, p ${p}`];
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
    const declared = table.reference ? [["", `${table.reference} (declared)`]] : [];
    fill(controls.reference, [...declared, ...table.rows.map((row, index) => [index, row.title])], declared.length ? "" : 0);
    const kinds = new Set(table.rows.map(kindOf));
    const blocks = [...new Set(table.rows.map(row => row.block))].filter(block => block !== null);
    fill(controls.block, [["", "all"], ...blocks.map(block => [block, block])]);
    fill(controls.kind, KINDS.filter(([kind]) => !kind || kinds.has(kind)));
    controls.block.closest("label").hidden = blocks.length < 2;
    controls.kind.closest("label").hidden = kinds.size < 2;
    controls.name.addEventListener("input", () => { this.draw(); toAddress(this); });
    const costs = table.costs.filter(([cost]) => table.rows.some(row => row[cost] !== null));
    fill(controls.cost, costs);
    node.querySelector("[data-chart=cost]").hidden = !costs.length;
    const series = [...new Set(table.rows.flatMap(row => Object.keys(row.curves)))].sort();
    fill(controls.series, series.map(each => [each, each.replaceAll("_", " ")]), "loss");
    node.querySelector("[data-chart=curves]").hidden = !series.length;
    controls.metric.addEventListener("change", () => { this.fillCutoffs(controls.cutoff.value); this.draw(); });
    for (const hidden of node.querySelectorAll(".controls[hidden], .live")) hidden.hidden = false;
    node.querySelectorAll(".main thead th").forEach((head, column) =>
      head.firstElementChild.addEventListener("click", () => this.sort(column)));
    this.firstReference = controls.reference.value;
    this.body = [...node.querySelectorAll(".main tbody")];
    this.home = new Map([...node.querySelectorAll("tr[data-row]")].map(row => [row, row.parentNode]));
    this.still = new Map([...node.querySelectorAll("td[data-key]")].map(cell => [cell, [cell.dataset.value, [...cell.childNodes]]]));
    controls.group.closest("label").hidden = this.body.length < 2;
    columnChooser(node, table);
    const columns = node.querySelectorAll(".main thead th").length;
    this.lines = table.rows.map((_, at) => node.querySelector(`tr[data-row="${at}"]`));
    this.rows = this.lines.map((line, at) => openable(line, table.rows[at].details, columns));
    for (const row of this.rows) row.button.addEventListener("click", () => row.set(!row.open));
    this.draw();
    this.first = readState(this);
    for (const event of ["change", "click"]) node.addEventListener(event, () => toAddress(this));
    addEventListener("resize", () => this.draw());
  }

  get isPrimary() {
    const { metric, cutoff, stratum } = this.controls;
    return `${metric.value}@${cutoff.value}` === board.metric && stratum.value === "all";
  }

  referenceName() {
    const chosen = this.controls.reference.value;
    return chosen === "" ? this.table.reference : this.table.rows[chosen].title;
  }

  // The rows that the filters leave.
  filter() {
    const { controls, table } = this;
    const wanted = controls.name.value.trim().toLowerCase();
    const shows = row => (!controls.block.value || row.block === controls.block.value)
      && (!controls.kind.value || kindOf(row) === controls.kind.value) && row.title.toLowerCase().includes(wanted);
    this.shown = table.rows.map(shows);
    this.lines.forEach((line, at) => { line.hidden = !this.shown[at]; this.rows[at].set(this.rows[at].open); });
    for (const head of this.node.querySelectorAll(".main .group"))
      head.hidden = !controls.group.checked || ![...head.parentNode.querySelectorAll("tr[data-row]")].some(line => !line.hidden);
    const left = this.shown.filter(shown => shown).length;
    return left === table.rows.length ? "" : left ? ` Shown: ${left} of ${table.rows.length} rows; all numbers are those of the whole board.`
      : " No row has this block, kind and name.";
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
    this.drawFollowing(choice);
    this.drawTitle(choice);
    this.node.querySelector(".status").append(this.filter());
    this.drawMatrix(choice);
    this.drawCost(choice);
    this.drawCurves();
  }

  // The columns that follow the choice; all others are as they were written.
  drawCells(choice) {
    const { controls, node, table } = this;
    const chosen = controls.reference.value;
    const cells = key => [...node.querySelectorAll(`.main td[data-key=${key}]`)].map(cell => [cell, Number(cell.parentNode.dataset.row)]);
    const head = (key, text) => { node.querySelector(`.main thead th[data-key=${key}] button`).textContent = text; };
    const against = (row, column) => table.rows[row].vs[column]?.against ?? null;
    head("score", metricName(choice.metric));
    head("reference", `vs ${this.referenceName()}`);
    for (const [cell, row] of cells("score")) {
      const mean = element("span", { class: `tier${choice.view.tier[row] ?? ""}` }, choice.view.mean[row].toFixed(4));
      const ends = [-1, 1].map(side => choice.view.mean[row] + side * choice.view.half[row]);
      this.write(cell, choice.view.mean[row], mean);
      cell.append(element("span", { class: "note" }, `[${ends.map(end => Math.max(end, 0).toFixed(4)).join(", ")}]`));
    }
    for (const [cell, row] of cells("rank")) {
      const [ranks, letters] = [choice.view.ranks[row], choice.view.letters[row]];
      const mark = choice.view.of_checkpoint[row] ? "†" : "";
      const shared = board.pairs === "all" && letters ? ` ${letters}` : "";
      this.write(cell, ranks && ranks[0], ranks ? `${[...new Set(ranks)].join("–")}${mark}${shared}` : "–");
      if (ranks) cell.prepend(rankBar(ranks, table.rows.length));
    }
    this.drawDifferences(cells("parent"), row => against(row, "parent"), "parent", choice);
    const reference = row => chosen === "" ? against(row, table.reference) : Number(chosen) === row ? null : Number(chosen);
    this.drawDifferences(cells("reference"), reference, table.reference, choice);
    node.querySelector(".status").textContent = this.isPrimary && (board.pairs === "all" || chosen === "" || !table.reference)
      ? `The board's own view: ${metricName(choice.metric)}, all users. In brackets 95 % intervals over users and seeds.`
      : `Exploratory view: ${metricName(choice.metric)}, ${table.strata[controls.stratum.value]}. In brackets 95 % intervals `
        + "by the crossed-variance t; p by Holm over all pairs of the view.";
    const sorted = node.querySelector(".main thead th[aria-sort]");
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
    const wide = column !== "parent";
    const scale = forestScale(found.map(([, one]) => one).filter(one => one), wide);
    const head = this.node.querySelector(`.main thead th[data-key=${wide ? "reference" : "parent"}]`);
    head?.querySelector("svg")?.remove();
    if (head && wide && found.some(([, one]) => one)) head.append(forestAxis(scale));
    for (const [cell, one] of found) {
      const [middle, ...more] = one ? differenceTexts(one) : ["–"];
      const texts = element("div", {}, element("span", { class: one ? verdict(one) : "none" }, middle));
      if (one) texts.append(element("span", { class: "note" }, ...more.flatMap(text => [" ", element("span", {}, text)])));
      this.write(cell, one && one.middle, element("div", { class: wide ? "beside" : "" }, ...one ? [forestPlot(one, scale)] : [], texts));
    }
  }

  // The columns beside the main ones: other metrics over the chosen users; what is known of all users only is left empty.
  drawFollowing(choice) {
    const views = this.table.views[this.controls.stratum.value];
    for (const [cell, [value, content]] of this.still) {
      const key = cell.dataset.key;
      const row = Number(cell.parentNode.dataset.row);
      const all = this.controls.stratum.value === "all";
      if (key === "users" ? this.isPrimary : /^\w+@\d+$/.test(key) && all) {
        cell.dataset.value = value;
        cell.replaceChildren(...content);
      } else if (views[key]) this.write(cell, views[key].mean[row], views[key].mean[row].toFixed(4));
      else if (key === "users" || /^\w+@\d+$/.test(key)) this.write(cell, null, "–");
    }
  }

  // The heading and the answer follow the choice; only the declared family has the sentence that was written for it.
  drawTitle(choice) {
    const users = this.controls.stratum.value === "all" ? "" : `, ${this.controls.stratum.value} users`;
    const shown = metricName(choice.metric) + users;
    if (!this.node.hidden) document.getElementById("metric").textContent = shown;
    if (!this.node.hidden) document.title = `${this.table.title} · ${shown} · recbench leaderboard`;
    const answer = this.node.querySelector(".answer");
    const declared = this.isPrimary && this.controls.reference.value === this.firstReference;
    answer.textContent = declared ? answer.dataset.answer : `${shown}, exploratory: ${this.found(choice)}.`;
    this.node.querySelector(".standing").hidden = !this.isPrimary;
  }

  // Who is better, who is worse and how many are neither, against the chosen reference.
  found(choice) {
    const { table } = this;
    const chosen = this.controls.reference.value;
    const by = { better: [], worse: [], tie: [] };
    table.rows.forEach((row, index) => {
      const other = chosen === "" ? row.vs[table.reference]?.against ?? null : Number(chosen) === index ? null : Number(chosen);
      if (other !== null) by[verdict(difference(table, choice, index, other, table.reference))].push(row.title);
    });
    const listed = names => names.length > 3 ? `${names.slice(0, 2).join(", ")} and ${names.length - 2} more` : names.join(", ");
    const parts = [[by.better, "beyond"], [by.worse, "behind"]].filter(([names]) => names.length)
      .map(([names, side]) => `${listed(names)} ${names.length > 1 ? "are" : "is"} ${side} ${this.referenceName()}`);
    if (by.tie.length) parts.push(`${by.tie.length} ${by.tie.length > 1 ? "are" : "is"} not told from ${parts.length ? "it" : this.referenceName()}`);
    return parts.join("; ") || "there is nothing to compare";
  }

  drawMatrix(choice) {
    const { rows } = this.table;
    const shared = row => choice.view.letters[row] ? [" ", element("span", { class: "note" }, choice.view.letters[row])] : [];
    const all = rows.map((row, index) => [row, index]).filter(([, index]) => this.shown[index]);
    const head = element("tr", {}, element("th"), ...all.map(([row]) => element("th", { scope: "col" }, row.title)));
    const lines = all.map(([row, a]) => element("tr", {}, element("th", { scope: "row" }, row.title, ...shared(a)), ...all.map(([other, b]) => {
      if (a === b) return element("td", {}, "");
      const found = difference(this.table, choice, a, b);
      const mark = { better: "▲", worse: "▼", tie: "=" }[verdict(found)];
      return element("td", { class: verdict(found), title: `${row.title} − ${other.title}: ${differenceTexts(found).join(" ")}` },
        `${found.across ? "~" : ""}${mark} ${signed(found.middle)}${found.checkpoints ? "†" : ""}`);
    })));
    this.node.querySelector(".matrix").replaceChildren(
      element("table", {}, element("thead", {}, head), element("tbody", {}, ...lines)));
  }

  drawCost(choice) {
    const { controls, node, table } = this;
    const cost = controls.cost.value;
    const points = table.rows.map((row, index) => ({ name: row.brief, index, x: row[cost], y: choice.view.mean[index],
      half: choice.view.half[index] })).filter(point => point.x > 0 && this.shown[point.index]);
    const front = points.filter(point => !points.some(other => other !== point && other.x <= point.x && other.y >= point.y))
      .sort((a, b) => a.x - b.x);
    const steps = front.flatMap((point, at) => at ? [{ x: point.x, y: front[at - 1].y }, point] : [point]);
    const label = table.costs.find(([each]) => each === cost)?.[1] ?? "";
    drawChart(node.querySelector("[data-chart=cost] svg"), { points, lines: [{ points: steps, plain: true }], logarithmic: true,
      x: `${label} (logarithmic)`, y: metricName(choice.metric) });
  }

  drawCurves() {
    const { controls, node, table } = this;
    const series = controls.series.value;
    const lines = table.rows.map((row, index) => ({ name: row.brief, index, curve: row.curves[series] })).filter(line => line.curve && this.shown[line.index])
      .map(line => ({ ...line, points: line.curve.step.map((step, at) => ({ x: step, y: line.curve.value[at] })) }));
    drawChart(node.querySelector("[data-chart=curves] svg"), { points: [], lines, x: "step", y: series.replaceAll("_", " ") });
  }

  sort(column) {
    const heads = [...this.node.querySelectorAll(".main thead th")];
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
    const rows = [...this.home.keys()].sort((a, b) =>
      (value(a) === "") - (value(b) === "") || sign * compare(value(a), value(b)));
    const grouped = this.controls.group.checked;
    for (const row of rows)
      (grouped ? this.home.get(row) : this.body[0]).append(row, ...this.rows ? [this.rows[row.dataset.row].below] : []);
  }
}

const sections = [...document.querySelectorAll("section[data-table]")];
const drawn = sections.map(node => new Section(node));
const chooser = document.getElementById("choose-table");
const showSection = at => { chooser.value = at; sections.forEach((node, index) => { node.hidden = index !== at; }); };
if (chooser) {
  chooser.closest(".controls").hidden = false;
  chooser.addEventListener("change", () => {
    showSection(Number(chooser.value));
    drawn[chooser.value].draw();
    toAddress(drawn[chooser.value]);
  });
}
if (drawn.length) {
  fromAddress();
  addEventListener("hashchange", fromAddress);
}
