// What a reader chose stands in the address, so that a view can be sent to others.
const KINDS = [["", "all"], ["model", "with a language model"], ["other", "without one"], ["elsewhere", "made elsewhere"]];
const kindOf = row => row.external ? "elsewhere" : row.block === null ? "other" : "model";

// The names in the address of a section's controls, in the order in which they are set.
const NAMES = { metric: "metric", k: "cutoff", users: "stratum", vs: "reference", group: "group", block: "block", kind: "kind",
  name: "name", cost: "cost", groups: "groups", series: "series" };

function readControl(control) {
  if (control.type === "checkbox") return control.checked ? "yes" : "no";
  return control.tagName === "SELECT" ? control.selectedOptions[0]?.dataset.word ?? "" : control.value;
}

// Whether the control has such a value, which it then takes.
function writeControl(control, text) {
  if (control.type === "checkbox") control.checked = text !== "no";
  else if (control.tagName !== "SELECT") control.value = text;
  else {
    const option = [...control.options].find(each => each.dataset.word === text);
    if (!option) return !control.options.length && !text;
    control.value = option.value;
  }
  return true;
}

function readState(section) {
  const state = {};
  for (const [key, name] of Object.entries(NAMES)) state[key] = readControl(section.controls[name]);
  state.columns = [...section.node.querySelectorAll("[data-column]:checked")].map(box => box.dataset.column).join(" ");
  const { sorted } = section;
  state.sort = sorted ? `${sorted.dataset.key} ${sorted.getAttribute("aria-sort")}` : "";
  state.open = section.rows.map((row, at) => row.open ? section.table.rows[at].title : "").filter(title => title).join(" | ");
  state.hidden = [...section.hidden].map(at => section.table.rows[at].title).join(" | ");
  return state;
}

// Take up a state; what this board does not have is left as it is, and returned.
function writeState(section, state) {
  const unknown = [];
  for (const [key, name] of Object.entries(NAMES)) {
    if (key === "k") section.fillCutoffs(state.k);
    if (!writeControl(section.controls[name], state[key])) unknown.push(`${key} ${state[key]}`);
  }
  const wanted = state.columns.split(" ").filter(key => key);
  const boxes = [...section.node.querySelectorAll("[data-column]")];
  for (const box of boxes) {
    box.checked = wanted.includes(box.dataset.column);
    box.dispatchEvent(new Event("change"));
  }
  unknown.push(...wanted.filter(key => !boxes.some(box => box.dataset.column === key)).map(key => `column ${key}`));
  const [key, direction] = state.sort.split(" ");
  const head = section.heads.find(each => each.dataset.key === key);
  if (head && ["ascending", "descending"].includes(direction)) section.mark(head, direction);
  else if (state.sort) unknown.push(`sort ${state.sort}`);
  const open = state.open.split(" | ").filter(title => title);
  section.rows.forEach((row, at) => row.set(open.includes(section.table.rows[at].title)));
  unknown.push(...open.filter(title => !section.table.rows.some(row => row.title === title)).map(title => `row ${title}`));
  const hidden = state.hidden.split(" | ").filter(title => title);
  const at = title => section.table.rows.findIndex(row => row.title === title);
  section.hidden = new Set(hidden.map(at).filter(found => found >= 0));
  unknown.push(...hidden.filter(title => at(title) < 0).map(title => `row ${title}`));
  return unknown;
}

function toAddress(section) {
  const state = readState(section);
  const changed = Object.entries(state).filter(([key, value]) => value !== section.first[key]);
  const set = section === drawn[0] ? [] : [["set", section.table.title]];
  const words = new URLSearchParams([...set, ...changed]).toString();
  history.replaceState(null, "", words ? `#${words}` : location.pathname + location.search);
}

// Show what the address asks for.
function fromAddress() {
  const words = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const { set, ...asked } = words;
  const section = set === undefined ? drawn[0] : drawn.find(each => each.table.title === set);
  const shown = section ?? drawn[0];
  if (chooser) showSection(drawn.indexOf(shown));
  const known = Object.fromEntries(Object.entries(asked).filter(([key]) => key in shown.first));
  const strange = Object.keys(asked).filter(key => !(key in shown.first));
  const unknown = section ? [...strange, ...writeState(shown, { ...shown.first, ...known })] : [`data set ${set}`];
  const note = document.getElementById("strange");
  note.hidden = !unknown.length;
  note.textContent = `The address asks for what this board does not have: ${unknown.join(", ")}.`;
  shown.draw();
}
