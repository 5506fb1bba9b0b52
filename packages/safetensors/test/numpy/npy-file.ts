import { concat } from "../support.ts";

/** A `.npy` file around this text of a header. */
export function npyAround(
  header: string | Uint8Array,
  data: Uint8Array = new Uint8Array(0),
  version: readonly [number, number] = [1, 0],
): Uint8Array<ArrayBuffer> {
  const text = typeof header === "string" ? Buffer.from(header, "latin1") : header;
  const length = Buffer.alloc(version[0] === 1 ? 2 : 4);
  length.writeUIntLE(text.length, 0, length.length);
  return concat([Buffer.from("\x93NUMPY", "latin1"), Uint8Array.from(version), length, text, data]);
}

/** The parts of a header, as Python literals. */
export interface HeaderParts {
  readonly descr?: string;
  readonly fortran?: string;
  readonly shape?: string;
}

/** The text of a header, of which parts are to differ. */
export function headerText({
  descr = "'<f4'",
  fortran = "False",
  shape = "(2, 3)",
}: HeaderParts = {}): string {
  return `{'descr': ${descr}, 'fortran_order': ${fortran}, 'shape': ${shape}, }\n`;
}
