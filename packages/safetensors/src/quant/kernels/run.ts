import type { KernelCall } from "./call.ts";

/** Does the work of a call in plain JavaScript: what every other way of doing it must equal, bit for bit. */
export function runKernel(call: KernelCall, out: Float32Array): void {
  throw new Error(`not here yet: ${call.kernel} ${out.length}`);
}
