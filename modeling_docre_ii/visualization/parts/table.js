// A table whose columns are sorted by a click: { label, value, cell, number, bar, hint }. On a phone it scrolls below its
// first column, or with `reflow` shows each row as a card. `sorted` says how the rows are sorted: { column, falling }.
function sortableTable(caption, columns, rows, { onRow = () => {}, reflow = false, sorted = null } = {}) {
  const body = el("tbody", { role: "rowgroup" });
  const heads = columns.map(column => el("th", { scope: "col", role: "columnheader", title: column.hint,
    class: column.number && "head-number" }, el("button", { onclick: () => sort(column) }, column.label)));
  let order = sorted;
  function fill(sortedRows) {
    body.replaceChildren(...sortedRows.map(row => {
      const node = el("tr", { role: "row" }, ...columns.map((column, index) => {
        const value = column.value(row);
        const text = column.cell ? column.cell(row) : column.number ? count(value) : value;
        const isHead = index === 0 && !reflow;
        return el(isHead ? "th" : "td", {
          ...(isHead ? { scope: "row", role: "rowheader" } : { role: "cell" }),
          class: `${column.number ? "number" : ""} ${column.bar ? "bar" : ""}`, "data-label": column.label,
          "--width": column.bar ? `${value}%` : "",
        }, text);
      }));
      onRow(row, node);
      return node;
    }));
  }
  function markOrder() {
    heads.forEach((head, index) => columns[index] === order?.column
      ? head.setAttribute("aria-sort", order.falling ? "descending" : "ascending") : head.removeAttribute("aria-sort"));
    picker.value = order ? columns.indexOf(order.column) : "";
  }
  function sort(column) {
    const falling = order && order.column === column ? !order.falling : Boolean(column.number);
    order = { column, falling };
    markOrder();
    const rank = value => value ?? (falling ? -Infinity : Infinity);
    fill([...rows].sort((a, b) => {
      const [x, y] = [rank(column.value(a)), rank(column.value(b))];
      const sign = typeof x === "string" ? x.localeCompare(y) : x === y ? 0 : x < y ? -1 : 1;
      return falling ? -sign : sign;
    }));
  }
  // Cards have no head to click.
  const picker = el("select", { onchange: event => sort(columns[event.target.value]) },
    ...columns.map((column, index) => el("option", { value: index }, column.label)));
  fill(rows);
  markOrder();
  const head = el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...heads));
  const scroll = el("div", { class: "scroll", role: "region", "aria-label": caption },
    el("table", { role: "table", "aria-label": caption }, head, body));
  const frame = el("div", { class: "table" }, scroll);
  const watch = () => {
    const isWide = scroll.scrollWidth > scroll.clientWidth + 1;
    frame.classList.toggle("more", isWide && scroll.scrollLeft + scroll.clientWidth < scroll.scrollWidth - 1);
    if (isWide) scroll.tabIndex = 0; else scroll.removeAttribute("tabindex");
  };
  scroll.addEventListener("scroll", watch);
  new ResizeObserver(watch).observe(scroll);
  const explained = columns.filter(column => column.hint);
  return el("div", { class: reflow ? "reflow" : null },
    reflow ? el("label", { class: "sort narrow-only" }, "Sort by ", picker) : null,
    frame,
    el("details", { class: "columns" }, el("summary", {}, "What the columns mean"),
      el("dl", {}, ...explained.flatMap(column => [el("dt", {}, column.label), el("dd", {}, column.hint)]))));
}

