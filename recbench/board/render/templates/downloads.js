// Files that are made here, from what the page carries: it asks nobody for them.
function save(name, text, type) {
  const link = element("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

const plainName = text => text.toLowerCase().replace(/[^a-z0-9@.]+/g, "-").replace(/^-|-$/g, "");

// A cell that a spreadsheet would take for a formula is not one.
function csvCell(value) {
  const text = value === null || value === undefined ? "" : String(value);
  const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

const csv = lines => lines.map(line => line.map(csvCell).join(",")).join("\n") + "\n";

const exact = value => value === null || value === undefined ? null : Number(value.toPrecision(8));

// The rows that are shown, in the view that is chosen.
function rowsAsCsv(section, choice) {
  const { table } = section;
  const compared = ["parent", "reference"];
  const parts = ["", "_low", "_high", "_p_holm", "_verdict"];
  const others = table.switchable.filter(name => name !== choice.metric);
  const head = ["dataset", "protocol", "users", "method", "block", "seeds", "rank_low", "rank_high", "rank_of_checkpoint", choice.metric,
    `${choice.metric}_low`, `${choice.metric}_high`, "printed", ...compared.flatMap(name => [`vs_${name}`, ...parts.map(part => `difference_to_${name}${part}`)]),
    ...others, ...table.costs.map(([name]) => name)];
  const lines = section.order().map(index => {
    const row = table.rows[index];
    const [mean, half] = [choice.view.mean[index], choice.view.half[index]];
    const differences = compared.flatMap(name => {
      const found = section.compared(name, index, choice);
      if (!found) return ["", null, null, null, null, null];
      return [table.rows[section.other(name, index, choice)].title, ...[found.middle, found.low, found.high, found.p].map(exact), verdict(found)];
    });
    return [table.dataset, table.protocol, choice.stratum, row.name, row.block, row.num_seeds, ...choice.view.ranks[index] ?? [null, null],
      choice.view.of_checkpoint[index], ...[mean, mean - half, mean + half].map(exact), section.printed(index, choice), ...differences,
      ...others.map(name => exact(table.views[choice.stratum][name].mean[index])), ...table.costs.map(([name]) => row[name])];
  });
  return csv([head, ...lines]);
}

function pairsAsCsv(section, choice) {
  const { table } = section;
  const rows = section.order();
  const lines = rows.flatMap((a, at) => rows.slice(at + 1).map(b => {
    const found = difference(table, choice, a, b);
    return [table.rows[a].title, table.rows[b].title, choice.metric, choice.stratum, ...[found.middle, found.low, found.high, found.p].map(exact),
      verdict(found), found.across ? "between systems" : "effect of the method", found.checkpoints ? "these checkpoints only" : "methods"];
  }));
  return csv([["a", "b", "metric", "users", "difference", "low", "high", "p_holm", "verdict", "kind", "scope"], ...lines]);
}

const GAINS = { hr: rank => 1, ndcg: rank => 1 / Math.log2(rank + 1), mrr: rank => 1 / rank };

// The rank of each user's target: a letter for each user, `a` for rank 1, `A` for rank 27; a number for so many misses.
function ranksOf(coded) {
  const ranks = [];
  for (const [part] of coded.matchAll(/\d+|[a-zA-Z]/g)) {
    if (/\d/.test(part)) for (let misses = Number(part); misses; misses--) ranks.push(0);
    else ranks.push(part >= "a" ? part.charCodeAt(0) - 96 : part.charCodeAt(0) - 38);
  }
  return ranks;
}

// One line for each run and user of the rows, as `recbench score --per-user` writes it: a rank of 0 is a miss.
function usersAsCsv({ table }, { metric }, rows) {
  const [name, cutoff] = metric.split("@");
  const gain = rank => rank > 0 && rank <= Number(cutoff) ? exact(GAINS[name](rank)) : 0;
  const start = [table.dataset, table.protocol.split(" ")[0], "test"];
  const { ids, requests } = table.users;
  const asked = requests ? ["user", "request"] : ["user"];
  const parts = [csv([["run", "method", "dataset", "protocol", "phase", "seed", ...asked, "rank", metric]])];
  const users = ids.map((id, at) => requests ? `${csvCell(id)},${requests[at]}` : csvCell(id));
  for (const index of rows) table.users.runs[index].forEach(([run, seed, coded]) => {
    const before = [run, table.rows[index].label, ...start, seed].map(csvCell).join(",");
    parts.push(ranksOf(coded).map((rank, at) => `${before},${users[at]},${rank},${gain(rank)}\n`).join(""));
  });
  return parts.join("");
}

const latexText = text => [...text.replace(/\s+/g, " ")].map(letter => board.latex[letter] ?? letter).join("");

// The table as it is shown: its columns, its rows, its order.
function tableAsLatex(section, choice) {
  const heads = section.heads.filter(head => !head.hidden);
  const text = node => [...node.querySelectorAll(".texts, .tier, .note, button")].length ? words(node) : node.textContent;
  const line = cells => cells.map(cell => latexText(text(cell).trim())).join(" & ") + " \\\\";
  const rows = section.order().map(index => heads.map(head => section.lines[index].cells[head.cellIndex]));
  return [`% ${section.table.title}; ${choice.said}; needs \\usepackage{booktabs}`, "\\begin{table}", "\\centering",
    `\\caption{${latexText(`${section.table.title}: ${choice.said}. ${section.node.querySelector(".status").textContent}`)}}`,
    `\\begin{tabular}{${heads.map(head => head.classList.contains("text") ? "l" : "r").join("")}}`, "\\toprule",
    line(heads), "\\midrule", ...rows.map(line), "\\bottomrule", "\\end{tabular}", "\\end{table}", ""].join("\n");
}

// The words of a cell without its pictures, notes set apart.
function words(node) {
  if (node.nodeType === Node.TEXT_NODE) return node.textContent;
  if (node.namespaceURI === VECTOR) return "";
  const inside = [...node.childNodes].map(words).join("").replace(/\s+/g, " ");
  return node.classList?.contains("note") ? ` ${inside.trim()}` : inside;
}

const KEPT = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap", "paint-order", "font-size", "font-weight", "opacity"];

// A picture as a file of its own: with the colours that it has here.
function svgAsText(svg) {
  const copy = svg.cloneNode(true);
  const [from, to] = [svg, copy].map(root => [root, ...root.querySelectorAll("*")]);
  to.forEach((node, at) => {
    const style = getComputedStyle(from[at]);
    node.removeAttribute("style");
    node.removeAttribute("class");
    for (const name of KEPT) if (style.getPropertyValue(name)) node.setAttribute(name, style.getPropertyValue(name));
  });
  const [, , width, height] = svg.getAttribute("viewBox").split(" ");
  for (const [name, value] of Object.entries({ xmlns: VECTOR, width, height, "font-family": "sans-serif" })) copy.setAttribute(name, value);
  copy.prepend(element("rect", { width, height, fill: getComputedStyle(document.body).backgroundColor }));
  return new XMLSerializer().serializeToString(copy);
}

// The buttons of a section, each for a file of the view that is chosen when it is pressed.
function downloads(section) {
  const { table, node } = section;
  const name = (what, ending) => `${plainName(`${table.title} ${section.choice.metric} ${section.choice.stratum} ${what}`)}.${ending}`;
  const button = (text, what, ending, type, make) => {
    const made = element("button", { type: "button", "data-file": what }, text);
    made.addEventListener("click", () => save(name(what, ending), make(), type));
    return made;
  };
  const missing = runs => element("span", {}, "The rank of each user is not on this page; this writes it: ",
    element("code", {}, `recbench score ${runs.join(" ")} --per-user ranks.csv`));
  const files = [
    button("Rows (CSV)", "rows", "csv", "text/csv", () => rowsAsCsv(section, section.choice)),
    button("Pairs (CSV)", "pairs", "csv", "text/csv", () => pairsAsCsv(section, section.choice)),
    ...table.users ? [button("Ranks of each user (CSV)", "users", "csv", "text/csv", () => usersAsCsv(section, section.choice, section.order()))] : [],
    button("Table (LaTeX)", "table", "tex", "text/x-tex", () => tableAsLatex(section, section.choice)),
    button("Citation (BibTeX)", "cite", "bib", "text/x-bibtex", () => table.bibtex),
    button("All numbers (JSON)", "numbers", "json", "application/json", () => JSON.stringify({ ...table, metric: board.metric }, null, 1)),
    button("Differences (SVG)", "forest", "svg", "image/svg+xml", () => drawnApart(section))];
  node.querySelector(".downloads div").replaceChildren(...files,
    ...table.users ? [] : [element("span", {}, "The rank of each user is not on this page; each row says the command that writes it.")]);
  for (const figure of node.querySelectorAll("figure")) figure.querySelector(".save").addEventListener("click", () =>
    save(name(figure.dataset.chart, "svg"), svgAsText(figure.querySelector("svg")), "image/svg+xml"));
  section.rows.forEach((row, index) => {
    const place = row.below.querySelector(".ranks");
    if (table.users) place.append(button("Ranks of each user (CSV)", `users ${table.rows[index].name}`, "csv", "text/csv",
      () => usersAsCsv(section, section.choice, [index])));
    else place.append(missing(table.rows[index].runs));
  });
}

// The forest is drawn for the file alone, in the page for a moment so that it has its colours.
function drawnApart(section) {
  const { table, choice } = section;
  const rows = section.order().map(index => ({ title: table.rows[index].title, found: section.compared("reference", index, choice) }));
  const picture = forestPicture(rows, `${table.title}: ${choice.said}, difference to ${section.referenceName()}`);
  section.node.append(picture);
  const text = svgAsText(picture);
  picture.remove();
  return text;
}
