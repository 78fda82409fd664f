// A click on a column's title, or Enter and Space there, sorts by it; a second one the other way. Empty cells stay last.
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const numeric = head.classList.contains("number");
    const value = (row) => row.cells[column].dataset.value;
    head.firstElementChild.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const descending = before ? before === "ascending" : numeric;
      const sign = descending ? -1 : 1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const [left, right] = [value(a), value(b)];
        if (left === "" || right === "") return (left === "") - (right === "");
        return sign * (numeric ? left - right : left.localeCompare(right, "en", { numeric: true }));
      });
      table.tBodies[0].append(...rows);
    });
  });
}
