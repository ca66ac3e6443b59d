// Which columns are shown: at first those that answer, the others behind the chooser.
const FOLLOWING = { score: "the chosen metric", reference: "vs the chosen reference" };
const FIRST = ["rank", "method", "score", "parent", "reference"];

function columnChooser(node, table) {
  const heads = [...node.querySelectorAll(".main thead th[data-key]")];
  const cost = table.costs.map(([name]) => name).find(name => heads.some(head => head.dataset.key === name));
  const shown = new Set([...FIRST, cost]);
  const show = (key, visible) => {
    for (const cell of node.querySelectorAll(`.main [data-key="${key}"]`)) cell.hidden = !visible;
  };
  const boxes = heads.filter(head => head.dataset.key !== "method").map(head => {
    const key = head.dataset.key;
    const box = element("input", { type: "checkbox", "data-column": key });
    box.checked = shown.has(key);
    box.addEventListener("change", () => show(key, box.checked));
    show(key, box.checked);
    return element("label", { class: "check" }, box, " ", FOLLOWING[key] ?? head.textContent);
  });
  node.querySelector(".columns div").replaceChildren(...boxes);
}
