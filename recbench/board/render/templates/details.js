// A click on a method's name opens what is known of its row.
function openable(line, { details, checklist, curves }, columns) {
  const name = line.querySelector(".name");
  const button = element("button", { type: "button", class: "name", "aria-expanded": "false" }, name.textContent);
  name.replaceWith(button);
  const said = facts => facts.map(([term, text]) => element("div", {}, element("dt", {}, term),
    element("dd", {}, text.startsWith("recbench ") ? element("code", {}, text) : text)));
  const drawn = Object.entries(curves).filter(([, curve]) => curve.value.length > 1).map(([series, curve]) =>
    element("div", {}, element("dt", {}, series.replaceAll("_", " ")), element("dd", {}, spark(curve))));
  const below = element("tr", { class: "detail" }, element("td", { colspan: columns },
    element("div", { class: "facts" }, element("dl", {}, ...said(details)),
      ...drawn.length ? [element("dl", { class: "sparks" }, ...drawn)] : [],
      element("p", { class: "checked" }, "Reproducibility checklist"), element("dl", {}, ...said(checklist)),
      element("p", { class: "ranks" }))));
  below.hidden = true;
  line.after(below);
  const set = open => {
    button.setAttribute("aria-expanded", String(open));
    below.hidden = !open || line.hidden;
  };
  return { button, below, set, get open() { return button.getAttribute("aria-expanded") === "true"; } };
}

// A curve in the height of a line of text, with its first and last value.
function spark({ step, value }) {
  const [width, height] = [110, 26];
  const [low, high] = [Math.min(...value), Math.max(...value)];
  const x = at => 2 + (at - step[0]) / (step.at(-1) - step[0] || 1) * (width - 4);
  const y = each => height - 3 - (each - low) / (high - low || 1) * (height - 6);
  const path = value.map((each, at) => `${at ? "L" : "M"}${x(step[at]).toFixed(1)} ${y(each).toFixed(1)}`).join("");
  return element("span", { class: "spark" }, `${value[0].toPrecision(3)} `,
    element("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, element("path", { d: path })), ` ${value.at(-1).toPrecision(3)}`);
}
