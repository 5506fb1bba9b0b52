import type { FloatDtype } from "../../dtype/cast.ts";
import { DTYPES } from "../../dtype/dtype.ts";
import { SafetensorsError } from "../../errors.ts";
import { Arena } from "../../kernels/arena.ts";
import { CAST_ROOM, castFloatsBy } from "../../kernels/cast.ts";
import { type KernelModule, kernelModule, ownKernelModule } from "../../kernels/module.ts";
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
  /**
   * What `castFloats` gives.
   *
   * @param into memory of the size of the result, none of which is `bytes`; new memory unless given
   * @throws as `castFloats`; `SIZE_MISMATCH` if `into` has another size
   */
  cast(from: FloatDtype, to: FloatDtype, bytes: Uint8Array, into?: Uint8Array): Uint8Array;
  /**
   * Memory that `cast` need not copy from or into, which makes it up to twice as fast: out of what `loadKernels` was told
   * to set apart, and ordinary memory when there is no more, or in JavaScript. It cannot be transferred.
   */
  allocate(bytes: number): Uint8Array;
  /** Takes back memory from `allocate`, which others get then. */
  release(memory: Uint8Array): void;
}

/** Options of `loadKernels`. */
export interface KernelOptions {
  /** Bytes that are set apart for `allocate`, less than 4 GiB; none unless given. They take room once they are used. */
  readonly memory?: number | undefined;
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
  cast: (from, to, bytes, into) => castFloatsBy(undefined, from, to, bytes, into),
  allocate: (bytes) => new Uint8Array(bytes),
  release: () => {},
};

/** Most bytes that are set apart: what the kernels need besides fits below 4 GiB. */
const MOST_MEMORY = 2 ** 32 - (16 << 20);

/**
 * The fastest kernels that there are here: those in WebAssembly where there is SIMD, else those in JavaScript.
 *
 * @throws `OUT_OF_RANGE` for an amount of memory that there cannot be
 */
export async function loadKernels({ memory = 0 }: KernelOptions = {}): Promise<Kernels> {
  if (!(Number.isInteger(memory) && memory >= 0 && memory <= MOST_MEMORY)) {
    const text = `kernels have 0 to ${MOST_MEMORY} bytes of memory set apart, not ${memory}`;
    throw new SafetensorsError("OUT_OF_RANGE", text);
  }
  const module = await kernelModule();
  if (!module) return plainKernels;
  const own = memory > 0 ? await ownMemory(memory) : undefined;
  return {
    backend: "wasm",
    run: (call, out) => runWasm(module, call, out),
    dense: (call, dtype, into = bytesFor(call, dtype)) => {
      denseWasm(module, call, dtype, into);
      return into;
    },
    cast: (from, to, bytes, into) => castFloatsBy(own?.module ?? module, from, to, bytes, into),
    allocate: (bytes) => own?.allocate(bytes) ?? new Uint8Array(bytes),
    release: (bytes) => own?.release(bytes),
  };
}

interface OwnMemory {
  readonly module: KernelModule;
  allocate(bytes: number): Uint8Array | undefined;
  release(memory: Uint8Array): void;
}

/** A module whose memory has parts that are lent; nothing if the system has no memory for it. */
async function ownMemory(size: number): Promise<OwnMemory | undefined> {
  const module = (await ownKernelModule())!;
  let whole: Uint8Array;
  try {
    whole = module.setApart(Math.ceil(size / 64) * 64, CAST_ROOM);
  } catch {
    return undefined;
  }
  const arena = new Arena(whole.length);
  return {
    module,
    allocate: (bytes) => {
      const at = arena.lend(bytes);
      return at === undefined ? undefined : whole.subarray(at, at + bytes);
    },
    release: (memory) => {
      if (memory.buffer === whole.buffer) arena.takeBack(memory.byteOffset - whole.byteOffset);
    },
  };
}

function bytesFor({ rows, columns }: KernelCall, dtype: FloatDtype): Uint8Array {
  return new Uint8Array((rows * columns * DTYPES[dtype].bits) / 8);
}
