/** A column of a table. */
export interface Column {
  readonly title?: string;
  readonly align?: "left" | "right";
  /** Colours a cell that has its width. */
  readonly style?: (cell: string) => string;
}

/** Columns get no wider than this for the sake of one long cell, which then pushes the rest of its row. */
const MAX_WIDTH = 72;

/** Lays out rows of cells as lines, indented by two. A title line comes first if any column has a title. */
export function* table(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  styleTitle: (title: string) => string = String,
): Generator<string, void, undefined> {
  const titles = columns.map((column) => column.title ?? "");
  const hasTitles = titles.some((title) => title !== "");
  const widths = titles.map((title) => title.length);
  for (const row of rows) {
    for (const [index, cell] of row.entries()) {
      widths[index] = Math.min(MAX_WIDTH, Math.max(widths[index]!, cell.length));
    }
  }
  const line = (cells: readonly string[], style: (column: Column, cell: string) => string): string => {
    let last = cells.length - 1;
    while (last > 0 && cells[last] === "") last--;
    const parts = cells.slice(0, last + 1).map((cell, index) => {
      const column = columns[index]!;
      if (column.align === "right") return style(column, cell.padStart(widths[index]!));
      return style(column, index === last ? cell : cell.padEnd(widths[index]!));
    });
    return `  ${parts.join("  ")}`;
  };
  if (hasTitles) yield line(titles, (_column, cell) => styleTitle(cell));
  for (const row of rows) yield line(row, (column, cell) => column.style?.(cell) ?? cell);
}
