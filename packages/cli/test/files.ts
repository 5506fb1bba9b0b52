import { writeFileSync } from "node:fs";

/** One entry of a header. */
export interface Entry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

/** Writes a safetensors file with this header, as JSON text or an object, and this many bytes of data. */
export function writeHeader(path: string, header: string | object, dataLength: number): void {
  const json = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  writeFileSync(path, Buffer.concat([length, json, Buffer.alloc(dataLength)]));
}

/** A header with tensors of one dtype and shape, one after the other. */
export function evenHeader(names: Iterable<string>, metadata?: Record<string, string>): [object, number] {
  const header: [string, unknown][] = metadata ? [["__metadata__", metadata]] : [];
  let offset = 0;
  for (const name of names) {
    header.push([name, { dtype: "F32", shape: [2, 3], data_offsets: [offset, offset + 24] }]);
    offset += 24;
  }
  return [Object.fromEntries(header), offset];
}
