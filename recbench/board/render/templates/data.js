"use strict";
// The board's numbers, and how they are said.
const board = read(document.getElementById("board").textContent);
const VECTOR = "http://www.w3.org/2000/svg"; // a name, not an address
const TAGS = ["svg", "g", "line", "circle", "path", "rect", "text", "title", "polygon"];
const signed = value => (value < 0 ? "-" : "+") + Math.abs(value).toFixed(4);
const metricName = name => /^(hr|ndcg|mrr)@/.test(name) ? name.toUpperCase() : name;
const short = value => (value || 0).toLocaleString("en", { notation: "compact", maximumSignificantDigits: 3 });

// Whole numbers stand for differences and half widths in units of 1e-7.
for (const table of board.tables) for (const views of Object.values(table.views)) for (const view of Object.values(views))
  for (const [at, name] of [[view, "mean"], [view, "half"], [view.pairs, "difference"], [view.pairs, "half"], [view.pairs, "half_together"]])
    at[name] = at[name].map(value => value / 1e7);

function read(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    const note = document.getElementById("strange");
    note.hidden = false;
    note.textContent = `The numbers of this page cannot be read (${error.message}), so nothing can be chosen; the tables are as they were written.`;
    return { tables: [] };
  }
}

function element(tag, attributes = {}, ...children) {
  const made = TAGS.includes(tag) ? document.createElementNS(VECTOR, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// Options are [value, text, word]: the word, or the text without one, stands in the address.
function fill(select, options, chosen) {
  select.replaceChildren(...options.map(([value, text, word]) => {
    const option = element("option", { value, "data-word": word ?? text }, text);
    option.selected = String(value) === String(chosen);
    return option;
  }));
}

// A method has one colour in all pictures of all datasets.
const NAMES_OF_METHODS = [...new Set(board.tables.flatMap(table => table.rows.map(row => row.name)))];
const COLOURS = 12;
const colourOf = row => `var(--c${NAMES_OF_METHODS.indexOf(row.name) % COLOURS})`;

const POWER_SHARE = 0.43; // the t of 80 % power over that of a 95 % interval, with many degrees of freedom

// Row a against row b in a view: what is declared on the board where that is asked for, else the view's pair.
function difference(table, choice, a, b, column) {
  const declared = column && choice.view === table.views.all[board.metric]
    && Object.entries(table.rows[a].vs).find(([name, found]) => isOf(name, column) && found.against === b)?.[1];
  if (declared) {
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

// Whether a declared comparison is with the reference, in whatever block.
const isOf = (name, reference) => name === reference || name.startsWith(`${reference} · `);

// The interval that holds with those of all pairs; it ends at 0 where one of Holm's later steps finds the difference.
function together(middle, half, p) {
  const [low, high] = [middle - half, middle + half];
  return p > board.alpha ? [low, high] : middle > 0 ? [Math.max(low, 0), high] : [low, Math.min(high, 0)];
}

const bestOf = view => view.mean.indexOf(Math.max(...view.mean));

const ofCheckpoints = (table, a, b) => [a, b].some(row => table.rows[row].scope !== "methods");

function betweenSystems(a, b) {
  const starts = a.starts_from && b.starts_from && a.starts_from !== b.starts_from;
  return a.block !== b.block || starts || a.external || b.external;
}

const verdict = found => found.p > board.alpha ? "tie" : found.middle > 0 ? "better" : "worse";

const pText = p => p < 0.001 ? "< 0.001" : p.toFixed(3);

// The difference, its interval, and the verdict with p.
function differenceTexts(found) {
  return [`${found.across ? "~ " : ""}${signed(found.middle)}${found.checkpoints ? "†" : ""}`, `[${signed(found.low)}, ${signed(found.high)}]`,
    `${verdict(found)}, p ${pText(found.p)}`];
}
