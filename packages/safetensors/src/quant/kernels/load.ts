import { castFloats, type FloatDtype } from "../../dtype/cast.ts";
import { DTYPES } from "../../dtype/dtype.ts";
import { castFloatsBy } from "../../kernels/cast.ts";
import { kernelModule } from "../../kernels/module.ts";
import type { KernelCall } from "./call.ts";
import { runKernel } from "./run.ts";
import { denseWasm, runWasm } from "./wasm.ts";

/** Ways to make weights dense. All give the same bits, but for those of a NaN, which stays one. */
export interface Kernels {
  readonly backend: "wasm" | "javascript";
  /**
   * Does the work of a call.
   *
   * @returns `out`, which it fills
   * @throws `SIZE_MISMATCH` if the arrays have other sizes than the call says
   */
  run(call: KernelCall, out: Float32Array): Float32Array;
  /**
   * The values of a call as packed floats of a dtype, what `castFloats` makes of them.
   *
   * @param into memory of this size; new memory unless given
   * @throws as `run` and `castFloats` do
   */
  dense(call: KernelCall, dtype: FloatDtype, into?: Uint8Array): Uint8Array;
  /** What `castFloats` gives. */
  cast(from: FloatDtype, to: FloatDtype, bytes: Uint8Array, into?: Uint8Array): Uint8Array;
}

/** The kernels in plain JavaScript. */
export const plainKernels: Kernels = {
  backend: "javascript",
  run: (call, out) => {
    runKernel(call, out);
    return out;
  },
  dense: (call, dtype, into = bytesFor(call, dtype)) => {
    denseWasm(undefined, call, dtype, into);
    return into;
  },
  cast: (from, to, bytes, into) => {
    const cast = castFloats(from, to, bytes);
    into?.set(cast);
    return into ?? cast;
  },
};

/** The fastest kernels that there are here: those in WebAssembly where there is SIMD, else those in JavaScript. */
export async function loadKernels(): Promise<Kernels> {
  const module = await kernelModule();
  if (!module) return plainKernels;
  return {
    backend: "wasm",
    run: (call, out) => runWasm(module, call, out),
    dense: (call, dtype, into = bytesFor(call, dtype)) => {
      denseWasm(module, call, dtype, into);
      return into;
    },
    cast: (from, to, bytes, into) => castFloatsBy(module, from, to, bytes, into),
  };
}

function bytesFor({ rows, columns }: KernelCall, dtype: FloatDtype): Uint8Array {
  return new Uint8Array((rows * columns * DTYPES[dtype].bits) / 8);
}
