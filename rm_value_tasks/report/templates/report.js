"use strict";
// Sorts a table by the column whose head is pressed: up, then down; empty cells stay last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const down = head.ariaSort === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const numeric = head.classList.contains("number");
      const keyed = [...body.rows].map((row) => {
        const cell = row.cells[column];
        const shown = cell.textContent;
        const key = numeric ? Number.parseFloat(cell.dataset.value) : shown;
        return { row, key, empty: shown === "" || Number.isNaN(key) };
      });
      keyed.sort((a, b) => {
        if (a.empty || b.empty) return a.empty - b.empty;
        const order = numeric ? a.key - b.key : a.key.localeCompare(b.key, "en", { numeric: true });
        return down ? -order : order;
      });
      body.append(...keyed.map(({ row }) => row));
    });
  });
}
// Says so where a table or figure is wider than the window, since no scroll bar may show.
const watcher = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const line = target.previousElementSibling;
    const hidden = [...target.querySelectorAll("thead th")].filter(
      (head) => head.offsetLeft + head.offsetWidth > target.clientWidth + 1,
    ).length;
    line.hidden = target.scrollWidth <= target.clientWidth + 1;
    const rest = hidden ? `${hidden} more column${hidden > 1 ? "s" : ""}` : "the rest";
    line.textContent = `\u2192 scroll sideways for ${rest}`;
  }
});
for (const region of document.querySelectorAll(".scroll")) watcher.observe(region);
