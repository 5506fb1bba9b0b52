import { castFloats, type FloatDtype } from "../../dtype/cast.ts";
import { DTYPES } from "../../dtype/dtype.ts";
import { narrowing } from "../../kernels/cast.ts";
import type { KernelModule } from "../../kernels/module.ts";
import type { KernelCall } from "./call.ts";
import { checkCall } from "./check.ts";
import { runKernel } from "./run.ts";
import { wasmJob } from "./wasm-jobs.ts";
import { stepUnits } from "./wasm-steps.ts";

/** Which part of a call is done: those of `parts` that are about as large. */
export interface Part {
  readonly part: number;
  readonly parts: number;
}

const WHOLE: Part = { part: 0, parts: 1 };

/**
 * Does what `runKernel` does, in WebAssembly where there is a kernel for it.
 *
 * @returns `out`
 */
export function runWasm(module: KernelModule, call: KernelCall, out: Float32Array): Float32Array {
  checkCall(call, out.length);
  const bytes = new Uint8Array(out.buffer, out.byteOffset, out.byteLength);
  if (!fillPart(module, call, "F32", bytes, WHOLE)) runKernel(call, out);
  return out;
}

/**
 * Fills bytes with the values of a call as packed floats of a dtype: each step is cast while it is in the cache.
 *
 * @param bytes of the whole call, whichever part is done
 */
export function denseWasm(
  module: KernelModule | undefined,
  call: KernelCall,
  dtype: FloatDtype,
  bytes: Uint8Array,
  part: Part = WHOLE,
): void {
  checkCall(call, (bytes.length * 8) / DTYPES[dtype].bits);
  if (module && fillPart(module, call, dtype, bytes, part)) return;
  // What is not cut is done by the first.
  if (part.part > 0) return;
  const values = new Float32Array(call.rows * call.columns);
  if (module) runWasm(module, call, values);
  else runKernel(call, values);
  const dense = new Uint8Array(values.buffer);
  bytes.set(dtype === "F32" ? dense : castFloats("F32", dtype, dense));
}

/** Returns `false`, and does nothing, if there is no kernel for the call or the dtype. */
function fillPart(
  module: KernelModule,
  call: KernelCall,
  dtype: FloatDtype,
  bytes: Uint8Array,
  { part, parts }: Part,
): boolean {
  const cast = narrowing(module.functions, dtype);
  if (!cast && dtype !== "F32") return false;
  module.clear();
  const job = wasmJob(module, call);
  if (!job) return false;
  const { units, values, multiple } = job;
  const size = DTYPES[dtype].bits / 8;
  const step = stepUnits(job);
  // A cast goes on to the next multiple of 16.
  const room = step * values + 16;
  const out = module.reserve(room * 4);
  const after = cast ? module.reserve(room * size) : out;
  const boundary = (of: number): number => Math.floor((units * of) / parts / multiple) * multiple;
  const end = part + 1 === parts ? units : boundary(part + 1);
  for (let first = boundary(part); first < end; first += step) {
    const count = Math.min(step, end - first);
    job.fill(first, count, out);
    cast?.(out, after, count * values);
    bytes.set(module.bytes(after, count * values * size), first * values * size);
  }
  return true;
}
