"use strict";
// Without this script the page still folds; with it, it is searched, and a reference unfolds what it leads to.
const items = [...document.querySelectorAll(".tree li")];
const branches = [...document.querySelectorAll(".branch")];
const field = document.querySelector(".tools input");
const said = document.querySelector(".tools output");
const before = new Map();

const ownText = (item) => {
  const head = item.querySelector(":scope > .branch > summary, :scope > .leaf");
  const about = item.querySelector(":scope > .about, :scope > .branch > .about");
  return `${head.textContent} ${about ? about.textContent : ""}`.toLowerCase();
};
const texts = new Map(items.map((item) => [item, ownText(item)]));

const search = () => {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length && !before.size) branches.forEach((branch) => before.set(branch, branch.open));
  const shown = new Set();
  let hits = 0;
  for (const item of items) {
    const hit = words.length > 0 && words.every((word) => texts.get(item).includes(word));
    item.classList.toggle("hit", hit);
    if (!hit) continue;
    hits += 1;
    for (let up = item; up; up = up.parentElement.closest("li")) shown.add(up);
  }
  for (const item of items) item.classList.toggle("off", words.length > 0 && !shown.has(item));
  for (const branch of branches) {
    if (words.length) branch.open = shown.has(branch.parentElement);
    else if (before.has(branch)) branch.open = before.get(branch);
  }
  if (!words.length) before.clear();
  said.textContent = words.length ? `${hits} found` : "";
};
field.addEventListener("input", search);
document.querySelector(".tools").addEventListener("submit", (event) => event.preventDefault());
for (const button of document.querySelectorAll("[data-fold]")) {
  button.addEventListener("click", () => branches.forEach((branch) => { branch.open = button.dataset.fold === "open"; }));
}
const reveal = () => {
  const target = location.hash ? document.getElementById(location.hash.slice(1)) : null;
  if (!target) return;
  if (target.closest(".off")) { field.value = ""; search(); }
  for (let up = target.parentElement; up; up = up.parentElement) if (up.tagName === "DETAILS") up.open = true;
  target.scrollIntoView({ block: "center" });
};
addEventListener("hashchange", reveal);
reveal();
addEventListener("beforeprint", () => branches.forEach((branch) => { branch.open = true; }));
