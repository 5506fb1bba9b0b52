import { runAwq } from "./awq.ts";
import type { KernelCall } from "./call.ts";
import { checkCall } from "./check.ts";
import { runKMajor } from "./k-major.ts";
import { runPackedRows } from "./packed-rows.ts";
import { runScaledBytes } from "./scaled-bytes.ts";
import { runScaledNibbles } from "./scaled-nibbles.ts";

/**
 * Does the work of a call in plain JavaScript: what every other way of doing it must equal, bit for bit (of a NaN, only
 * that it is one).
 *
 * @param out `rows * columns` values, all of which are written
 * @throws `SIZE_MISMATCH` if the arrays have other sizes than the call says
 */
export function runKernel(call: KernelCall, out: Float32Array): void {
  checkCall(call, out.length);
  if (out.length === 0) return;
  switch (call.kernel) {
    case "k-major":
      return runKMajor(call, out);
    case "awq":
      return runAwq(call, out);
    case "packed-rows":
      return runPackedRows(call, out);
    case "scaled-bytes":
      return runScaledBytes(call, out);
    case "scaled-nibbles":
      return runScaledNibbles(call, out);
  }
}
