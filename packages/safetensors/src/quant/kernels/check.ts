import { SafetensorsError } from "../../errors.ts";
import type { KernelCall } from "./call.ts";

/**
 * Checks that a call can be done: that all arrays have the sizes that it says, and that no group lies outside of them.
 *
 * @param room values that the output holds
 * @throws `SIZE_MISMATCH`
 */
export function checkCall(call: KernelCall, room: number): void {
  const { rows, columns } = call;
  checkCount(call, "rows", rows, 0);
  checkCount(call, "columns", columns, 0);
  checkSize(call, "out", room, rows * columns);
  switch (call.kernel) {
    case "k-major":
      checkBits(call, call.bits);
      checkSize(call, "words", call.words.length, Math.ceil((columns * call.bits) / 32) * rows);
      checkSize(call, "zeros", call.zeros.length, call.scales.length);
      checkGroups(call, call.groups, call.scales.length);
      return;
    case "awq":
      if (rows % 8 !== 0) throw mismatch(call, `${rows} rows are no whole words of 8`);
      checkSize(call, "words", call.words.length, columns * (rows / 8));
      checkSize(call, "zeros", call.zeros.length, call.scales.length);
      checkGroups(call, call.group, call.scales.length);
      return;
    case "packed-rows":
      checkBits(call, call.bits);
      checkRowWords(call.words.length, call);
      if (typeof call.zeros !== "number") checkSize(call, "zeros", call.zeros.length, call.scales.length);
      if (call.biases) checkSize(call, "biases", call.biases.length, call.scales.length);
      checkGroups(call, call.groups, call.scales.length);
      return;
    case "scaled-bytes": {
      checkCount(call, "rows of a block", call.blockRows, 1);
      checkCount(call, "columns of a block", call.blockColumns, 1);
      const blocks = Math.ceil(rows / call.blockRows) * Math.ceil(columns / call.blockColumns);
      checkSize(call, "codes", call.codes.length, rows * columns);
      checkSize(call, "table", call.table.length, 256);
      checkSize(call, "scales", call.scales.length, blocks);
      if (call.zeros) checkSize(call, "zeros", call.zeros.length, blocks);
      return;
    }
    case "scaled-nibbles":
      if (columns % 2 !== 0) throw mismatch(call, `${columns} columns are no whole bytes of 2`);
      checkCount(call, "columns of a block", call.block, 1);
      checkSize(call, "codes", call.codes.length, rows * (columns / 2));
      checkSize(call, "table", call.table.length, 16);
      checkSize(call, "scales", call.scales.length, rows * Math.ceil(columns / call.block));
  }
}

/** Words in a row of a "packed-rows" call: those that its codes need. */
export function wordsPerRow(columns: number, bits: number, perWord: number | undefined): number {
  return Math.ceil(perWord === undefined ? (columns * bits) / 32 : columns / perWord);
}

function checkRowWords(there: number, call: Extract<KernelCall, { kernel: "packed-rows" }>): void {
  const { rows, columns, bits, perWord } = call;
  if (perWord !== undefined) {
    checkCount(call, "codes of a word", perWord, 1);
    if (perWord * bits > 32) throw mismatch(call, `a word does not hold ${perWord} codes of ${bits} bits`);
  }
  checkSize(call, "words", there, rows * wordsPerRow(columns, bits, perWord));
}

function checkGroups(call: KernelCall, groups: Int32Array | number, scales: number): void {
  const { rows, columns } = call;
  if (typeof groups === "number") {
    checkCount(call, "columns of a group", groups, 1);
    checkSize(call, "scales", scales, Math.ceil(columns / groups) * rows);
    return;
  }
  checkSize(call, "groups", groups.length, columns);
  if (rows === 0 || columns === 0) return;
  const count = scales / rows;
  if (!Number.isInteger(count)) throw mismatch(call, `${scales} scales are no whole groups of ${rows} rows`);
  for (let column = 0; column < columns; column++) {
    const group = groups[column]!;
    if (!(group >= 0 && group < count))
      throw mismatch(call, `column ${column} is of group ${group}, there are ${count} groups`);
  }
}

function checkBits(call: KernelCall, bits: number): void {
  if (!(Number.isInteger(bits) && bits >= 1 && bits <= 8))
    throw mismatch(call, `codes of ${bits} bits, expected 1 to 8`);
}

function checkCount(call: KernelCall, what: string, count: number, least: number): void {
  if (!(Number.isSafeInteger(count) && count >= least))
    throw mismatch(call, `the number of ${what} is ${count}, expected a whole number from ${least} on`);
}

function checkSize(call: KernelCall, what: string, there: number, expected: number): void {
  if (there !== expected) throw mismatch(call, `${what} has ${there} elements, expected ${expected}`);
}

function mismatch({ kernel, rows, columns }: KernelCall, text: string): SafetensorsError {
  return new SafetensorsError("SIZE_MISMATCH", `${kernel} of ${rows} rows and ${columns} columns: ${text}`);
}
