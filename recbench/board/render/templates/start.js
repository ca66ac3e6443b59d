// The page comes to life: a section for each dataset, one of which is shown.
const sections = [...document.querySelectorAll("section[data-table]")];
const chooser = document.getElementById("choose-table");
const drawn = board.tables.length ? sections.map(node => new Section(node)) : [];
const showSection = at => { chooser.value = at; sections.forEach((node, index) => { node.hidden = index !== at; }); };
if (chooser && drawn.length) {
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
for (const picture of document.querySelectorAll(".diagram svg")) {
  const button = element("button", { type: "button", class: "save" }, "SVG");
  button.addEventListener("click", () => save("critical-difference.svg", svgAsText(picture), "image/svg+xml"));
  picture.closest(".diagram").after(button);
}
// A menu closes when something else is wanted.
const closeMenus = kept => document.querySelectorAll(".menu[open]").forEach(menu => { menu.open = menu === kept; });
addEventListener("pointerdown", event => closeMenus(event.target.closest?.(".menu")));
addEventListener("keydown", event => { if (event.key === "Escape") closeMenus(null); });
// Paper has no place to hide things in.
addEventListener("beforeprint", () => drawn.forEach(section => section.draw()));
