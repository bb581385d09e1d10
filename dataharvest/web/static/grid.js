// The grid is one stop for the Tab key; arrows, Home and End move inside it.
"use strict";
(() => {
  const MOVES = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Home: [0, -Infinity], End: [0, Infinity]};
  const links = () => document.querySelectorAll("table.grid td a");

  function stop(at) {
    for (const link of links()) link.tabIndex = -1;
    if (at) at.tabIndex = 0;
  }

  function settle() {
    const now = document.activeElement?.closest("table.grid td a");
    const known = document.querySelector("table.grid td a[tabindex='0']");
    stop(now || known || links()[0]);
  }

  function neighbour(link, [down, right]) {
    const row = link.closest("tr"), rows = row.parentElement.rows;
    let line = row.sectionRowIndex, place = link.closest("td").cellIndex;
    if (!Number.isFinite(right)) {
      const filled = [...row.querySelectorAll("td a")];
      return right < 0 ? filled[0] : filled.at(-1);
    }
    // Cells without a set are stepped over.
    for (line += down, place += right; rows[line]?.cells[place]; line += down, place += right) {
      const found = rows[line].cells[place].querySelector("td a");
      if (found) return found;
    }
    return null;
  }

  document.addEventListener("keydown", (event) => {
    const link = event.target.closest?.("table.grid td a");
    if (!link || !MOVES[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const next = neighbour(link, MOVES[event.key]);
    if (!next) return;
    stop(next);
    next.focus();
  });

  addEventListener("DOMContentLoaded", settle);
  document.addEventListener("htmx:after:swap", settle);
})();
