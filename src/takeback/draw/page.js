"use strict";
// Tables sort by a click on a heading: numbers by their first number, missing values last.
const sortKey = (cell) => {
  const text = cell.textContent.trim().replace(/−/g, "-").replace(/,/g, "").replace(/^[<>≤]/, "");
  const number = parseFloat(text);
  return { text, number: Number.isNaN(number) ? null : number };
};
const compare = (a, b, sign) => {
  if (a.number !== null && b.number !== null) return sign * (a.number - b.number);
  if (a.number !== null || b.number !== null) return a.number === null ? 1 : -1;
  return sign * a.text.localeCompare(b.text, undefined, { numeric: true });
};
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const heading = button.parentElement;
    const sign = heading.getAttribute("aria-sort") === "descending" ? 1 : -1;
    for (const other of heading.parentElement.children) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", sign < 0 ? "descending" : "ascending");
    const body = heading.closest("table").tBodies[0];
    const rows = [...body.rows].map((row) => [sortKey(row.cells[heading.cellIndex]), row]);
    rows.sort((a, b) => compare(a[0], b[0], sign));
    body.append(...rows.map((pair) => pair[1]));
  });
}
// On paper nothing can be unfolded, so everything is.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => { d.open = true; }));
