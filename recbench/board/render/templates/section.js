// A dataset's part of the page: its controls, and the table that follows them. It is drawn when it is shown.
class Section {
  constructor(node) {
    this.node = node;
    this.table = board.tables[node.dataset.table];
    this.hidden = new Set(); // rows that the pictures leave out
    this.controls = {};
    for (const control of node.querySelectorAll("[data-control]")) {
      this.controls[control.dataset.control] = control;
      control.addEventListener("change", () => this.draw());
    }
    this.fillControls();
    for (const hidden of node.querySelectorAll(".controls[hidden], .live, .choices > summary")) hidden.hidden = false;
    if (innerWidth < 640) node.querySelector(".choices").open = false;
    this.heads = [...node.querySelectorAll(".main thead th")];
    for (const head of this.heads) head.firstElementChild.addEventListener("click", () => this.sort(head));
    this.firstReference = this.controls.reference.value;
    this.body = [...node.querySelectorAll(".main tbody")];
    this.home = new Map([...node.querySelectorAll("tr[data-row]")].map(row => [row, row.parentNode]));
    this.still = new Map([...node.querySelectorAll("td[data-key]")].map(cell => [cell, [cell.dataset.value, [...cell.childNodes]]]));
    this.controls.group.closest("label").hidden = this.body.length < 2;
    columnChooser(node, this.table);
    this.lines = this.table.rows.map((_, at) => node.querySelector(`tr[data-row="${at}"]`));
    this.rows = this.lines.map((line, at) => openable(line, this.table.rows[at], this.heads.length));
    for (const row of this.rows) row.button.addEventListener("click", () => row.set(!row.open));
    downloads(this);
    this.first = readState(this);
    for (const event of ["change", "click"]) node.addEventListener(event, () => toAddress(this));
    addEventListener("resize", () => this.draw());
  }

  fillControls() {
    const { controls, node, table } = this;
    const [name, cutoff] = board.metric.split("@");
    fill(controls.metric, [...new Set(table.switchable.map(each => each.split("@")[0]))].map(each => [each, each.toUpperCase()]), name);
    this.fillCutoffs(cutoff);
    const users = each => table.views[each][board.metric].users.toLocaleString("en");
    fill(controls.stratum, Object.keys(table.strata).map(each => [each, `${each}${table.means[each] ? `: ${table.means[each]}` : ""} (${users(each)})`, each]), "all");
    const declared = table.reference ? [["", `${table.reference} (declared)`]] : [];
    fill(controls.reference, [...declared, ["best", "the best of the view", "best"], ...table.rows.map((row, index) => [index, row.title])],
      declared.length ? "" : "best");
    const kinds = new Set(table.rows.map(kindOf));
    const blocks = [...new Set(table.rows.map(row => row.block))].filter(block => block !== null);
    fill(controls.block, [["", "all"], ...blocks.map(block => [block, block])]);
    fill(controls.kind, KINDS.filter(([kind]) => !kind || kinds.has(kind)));
    controls.block.closest("label").hidden = blocks.length < 2;
    controls.kind.closest("label").hidden = kinds.size < 2;
    controls.name.addEventListener("input", () => { this.draw(); toAddress(this); });
    const costs = table.costs.filter(([cost]) => table.rows.some(row => row[cost] !== null));
    fill(controls.cost, costs);
    const groups = Object.entries(GROUPS).filter(([, [, names]]) => names.filter(each => table.views[each]).length > 1);
    fill(controls.groups, groups.map(([value, [text]]) => [value, text]));
    const series = [...new Set(table.rows.flatMap(row => Object.keys(row.curves)))].sort();
    fill(controls.series, series.map(each => [each, each.replaceAll("_", " ")]), "loss");
    for (const [chart, has] of [["cost", costs.length], ["groups", groups.length], ["curves", series.length]])
      node.querySelector(`[data-chart=${chart}]`).hidden = !has;
    controls.metric.addEventListener("change", () => { this.fillCutoffs(controls.cutoff.value); this.draw(); });
  }

  fillCutoffs(wanted) {
    const of = this.table.switchable.filter(each => each.startsWith(this.controls.metric.value + "@"));
    const cutoffs = of.map(each => each.split("@")[1]);
    fill(this.controls.cutoff, cutoffs.map(each => [each, each]), cutoffs.includes(wanted) ? wanted : cutoffs[0]);
  }

  // What is looked at: a metric over a group of users.
  get choice() {
    const { metric, cutoff, stratum } = this.controls;
    const name = `${metric.value}@${cutoff.value}`;
    return { metric: name, stratum: stratum.value, view: this.table.views[stratum.value][name],
      said: metricName(name) + (stratum.value === "all" ? "" : `, ${stratum.value} users`) };
  }

  get isPrimary() {
    return this.choice.metric === board.metric && this.choice.stratum === "all";
  }

  // The row that a row is compared with in a column: null for itself, and where none is declared.
  other(column, row, choice) {
    const { rows } = this.table;
    if (column === "parent") return rows[row].vs.parent?.against ?? null;
    const chosen = this.controls.reference.value;
    if (chosen === "") {
      const declared = Object.keys(rows[row].vs).find(name => isOf(name, this.table.reference));
      return declared === undefined ? null : rows[row].vs[declared].against;
    }
    const other = chosen === "best" ? bestOf(choice.view) : Number(chosen);
    return other === row ? null : other;
  }

  // The difference of a row in a column; null where it is compared with none.
  compared(column, row, choice) {
    const other = this.other(column, row, choice);
    return other === null ? null : difference(this.table, choice, row, other, column === "parent" ? column : this.table.reference);
  }

  referenceName() {
    const chosen = this.controls.reference.value;
    if (chosen === "") return this.table.reference;
    const { rows } = this.table;
    return chosen === "best" ? `${rows[bestOf(this.choice.view)].title} (best)` : rows[chosen].title;
  }

  // What the paper prints for the row in the metric; it prints no groups of users.
  printed(row, choice) {
    return choice.stratum === "all" ? this.table.rows[row].printed?.values[choice.metric] ?? null : null;
  }

  // The rows that pictures draw, with their numbers.
  drawn() {
    return this.table.rows.map((row, index) => [row, index]).filter(([, index]) => this.shown[index] && !this.hidden.has(index));
  }

  // The numbers of the rows that the table shows, from top to bottom.
  order() {
    return [...this.node.querySelectorAll("tr[data-row]")].filter(line => !line.hidden).map(line => Number(line.dataset.row));
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

  draw() {
    if (this.node.hidden) return;
    const { choice } = this;
    this.drawCells(choice);
    this.drawFollowing(choice);
    this.drawTitle(choice);
    this.node.querySelector(".status").append(this.filter());
    drawChips(this);
    drawMatrix(this, choice);
    drawCost(this, choice);
    drawGroups(this, choice);
    drawCurves(this);
    this.fit();
  }

  // The forest takes what the other columns leave.
  // Heads stay in sight: of the page where the table fits its width, else of a part that scrolls by itself.
  fit() {
    const over = this.node.querySelector(".over");
    over.classList.remove("fits");
    const spare = over.clientWidth - over.firstElementChild.offsetWidth;
    const width = forestRoom(over.clientWidth, this.forest + spare);
    if (Math.abs(width - this.forest) > 3) this.drawDifferences("reference", this.choice, width);
    over.classList.toggle("fits", over.scrollWidth <= over.clientWidth + 1);
  }

  cells(key) {
    return [...this.node.querySelectorAll(`.main td[data-key=${key}]`)].map(cell => [cell, Number(cell.parentNode.dataset.row)]);
  }

  // The columns that follow the choice; all others are as they were written.
  drawCells(choice) {
    const { controls, node, table } = this;
    const head = (key, text) => { node.querySelector(`.main thead th[data-key=${key}] button`).textContent = text; };
    head("score", metricName(choice.metric));
    head("reference", `vs ${this.referenceName()}`);
    for (const [cell, row] of this.cells("score")) {
      const mean = element("span", { class: `tier tier${choice.view.tier[row] ?? ""}` }, choice.view.mean[row].toFixed(4));
      const ends = [-1, 1].map(side => choice.view.mean[row] + side * choice.view.half[row]);
      const printed = this.printed(row, choice);
      this.write(cell, choice.view.mean[row], mean);
      cell.append(element("span", { class: "note" }, innerWidth < 640 ? `± ${choice.view.half[row].toFixed(4)}`
        : `[${ends.map(end => Math.max(end, 0).toFixed(4)).join(", ")}]`));
      if (printed !== null) cell.append(element("span", { class: "note printed", title: table.rows[row].printed.source }, `paper ${printed.toFixed(4)}`));
    }
    for (const [cell, row] of this.cells("rank")) {
      const [ranks, letters] = [choice.view.ranks[row], choice.view.letters[row]];
      const mark = choice.view.of_checkpoint[row] ? "†" : "";
      const shared = board.pairs === "all" && letters ? ` ${letters}` : "";
      this.write(cell, ranks && ranks[0], ranks ? `${[...new Set(ranks)].join("–")}${mark}${shared}` : "–");
      if (ranks) cell.prepend(rankBar(ranks, table.rows.length));
    }
    for (const column of ["parent", "reference"]) this.drawDifferences(column, choice);
    node.querySelector(".status").textContent = this.isPrimary && (board.pairs === "all" || controls.reference.value === "" || !table.reference)
      ? `The board's own view: ${choice.said}, all users. In brackets 95 % intervals over users and seeds.`
      : `Exploratory view: ${metricName(choice.metric)}, ${table.strata[choice.stratum]}. In brackets 95 % intervals `
        + "by the crossed-variance t; p by Holm over all pairs of the view.";
    if (this.sorted) this.arrange(this.sorted);
  }

  write(cell, value, content) {
    cell.dataset.value = value ?? "";
    cell.replaceChildren(content);
  }

  drawDifferences(column, choice, width) {
    const found = this.cells(column).map(([cell, row]) => [cell, this.compared(column, row, choice)]);
    const wide = column !== "parent";
    const room = this.node.querySelector(".over").clientWidth;
    if (wide) this.forest = width ?? forestRoom(room, 0);
    const scale = forestScale(found.map(([, one]) => one).filter(one => one), wide ? this.forest : room < 640 ? 100 : 110);
    const head = this.node.querySelector(`.main thead th[data-key=${column}]`);
    head?.querySelector("svg")?.remove();
    if (head && wide && found.some(([, one]) => one)) head.append(forestAxis(scale));
    for (const [cell, one] of found) {
      const [middle, ...more] = one ? differenceTexts(one) : ["–"];
      const texts = element("div", { class: "texts" }, element("span", { class: one ? verdict(one) : "none" }, middle));
      if (one) texts.append(element("span", { class: "note" }, ...more.flatMap(text => [" ", element("span", {}, text)])));
      this.write(cell, one && one.middle, element("div", { class: "beside" }, ...one ? [forestPlot(one, scale)] : [], texts));
    }
  }

  // The columns beside the main ones: other metrics over the chosen users; what is known of all users only is left empty.
  drawFollowing(choice) {
    const views = this.table.views[choice.stratum];
    const all = choice.stratum === "all";
    for (const [cell, [value, content]] of this.still) {
      const key = cell.dataset.key;
      const row = Number(cell.parentNode.dataset.row);
      const isMetric = /^\w+@\d+$/.test(key);
      if (key === "users" ? this.isPrimary : isMetric && all) {
        cell.dataset.value = value;
        cell.replaceChildren(...content);
      } else if (views[key]) this.write(cell, views[key].mean[row], views[key].mean[row].toFixed(4));
      else if (key === "users" || isMetric) this.write(cell, null, "–");
    }
  }

  // The heading and the answer follow the choice; only the declared family has the sentence that was written for it.
  drawTitle(choice) {
    document.title = `${this.table.title} · ${choice.said} · recbench leaderboard`;
    const answer = this.node.querySelector(".answer");
    const declared = this.isPrimary && this.controls.reference.value === this.firstReference;
    answer.textContent = declared ? answer.dataset.answer : `${choice.said}, exploratory: ${this.found(choice)}.`;
    this.node.querySelector(".standing").hidden = !this.isPrimary;
    this.node.querySelector(".chosen").textContent = `${choice.said}, against ${this.referenceName()}`;
  }

  // Who is better, who is worse and how many are neither, against the chosen reference.
  found(choice) {
    const { table } = this;
    const by = { better: [], worse: [], tie: [] };
    table.rows.forEach((row, index) => {
      const found = this.compared("reference", index, choice);
      if (found) by[verdict(found)].push(row.title);
    });
    const listed = names => names.length > 3 ? `${names.slice(0, 2).join(", ")} and ${names.length - 2} more` : names.join(", ");
    const parts = [[by.better, "beyond"], [by.worse, "behind"]].filter(([names]) => names.length)
      .map(([names, side]) => `${listed(names)} ${names.length > 1 ? "are" : "is"} ${side} ${this.referenceName()}`);
    if (by.tie.length) parts.push(`${by.tie.length} ${by.tie.length > 1 ? "are" : "is"} not told from ${parts.length ? "it" : this.referenceName()}`);
    return parts.join("; ") || "there is nothing to compare";
  }

  sort(head) {
    const first = head.classList.contains("text") || head.dataset.key === "rank" ? "ascending" : "descending";
    const other = first === "ascending" ? "descending" : "ascending";
    this.mark(head, head.getAttribute("aria-sort") === first ? other : first);
    this.arrange(head);
  }

  // The one column that the rows are sorted by.
  mark(head, order) {
    for (const each of this.heads) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
  }

  get sorted() { return this.heads.find(head => head.hasAttribute("aria-sort")); }

  arrange(head) {
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
