import { OPCODE_NAMES } from "../pickle/opcodes.ts";

/** Opcodes by the protocol that brought them; those of protocol 0 and 1 are allowed in every pickle. */
const NEWER: readonly (readonly [protocol: number, names: string])[] = [
  [2, "NEWOBJ EXT1 EXT2 EXT4 TUPLE1 TUPLE2 TUPLE3 NEWTRUE NEWFALSE LONG1 LONG4 PROTO"],
  [3, "BINBYTES SHORT_BINBYTES"],
  [
    4,
    "SHORT_BINUNICODE BINUNICODE8 BINBYTES8 EMPTY_SET ADDITEMS FROZENSET NEWOBJ_EX STACK_GLOBAL MEMOIZE FRAME",
  ],
  [5, "BYTEARRAY8 NEXT_BUFFER READONLY_BUFFER"],
];

const CODES = new Map(Array.from(OPCODE_NAMES, ([code, name]) => [name, code]));

/** The protocol that brought each opcode, by its byte; 0 and 1 are both 0. */
export const OPCODE_PROTOCOLS: readonly (number | undefined)[] = opcodeTable<number>(0, NEWER);

/** A table of all bytes: a value for the opcodes that are named, another for the others; nothing for what is no opcode. */
export function opcodeTable<T>(
  usual: T,
  rows: readonly (readonly [value: T, names: string])[],
): (T | undefined)[] {
  const values = Array.from({ length: 256 }, (_, code) => (OPCODE_NAMES.has(code) ? usual : undefined));
  for (const [value, names] of rows) for (const name of names.split(" ")) values[CODES.get(name)!] = value;
  return values;
}
