/** `[rows, columns]` as `[columns, rows]`. */
export function transposed<T extends Float32Array | Uint8Array>(values: T, rows: number, columns: number): T {
  const turned = values.slice() as T;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++)
      turned[column * rows + row] = values[row * columns + column]!;
  }
  return turned;
}
