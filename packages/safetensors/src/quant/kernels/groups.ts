/** The group of each column. */
export function groupOfColumns(groups: Int32Array | number, columns: number): Int32Array {
  if (typeof groups !== "number") return groups;
  const all = new Int32Array(columns);
  for (let column = 0; column < columns; column++) all[column] = column / groups;
  return all;
}
