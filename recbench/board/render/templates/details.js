// A click on a method's name opens what is known of its row.
function openable(line, facts, columns) {
  const name = line.querySelector(".name");
  const button = element("button", { type: "button", class: "name", "aria-expanded": "false" }, name.textContent);
  name.replaceWith(button);
  const list = element("dl", {}, ...facts.flatMap(([term, text]) =>
    [element("dt", {}, term), element("dd", {}, text.startsWith("recbench ") ? element("code", {}, text) : text)]));
  const below = element("tr", { class: "detail" }, element("td", { colspan: columns }, list));
  below.hidden = true;
  line.after(below);
  const set = open => {
    button.setAttribute("aria-expanded", String(open));
    below.hidden = !open || line.hidden;
  };
  return { button, below, set, get open() { return button.getAttribute("aria-expanded") === "true"; } };
}
