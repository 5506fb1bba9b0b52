import { SafetensorsError } from "safetensors.js";
import { plainKernels } from "safetensors.js/quant";
import { openKernelPool, openPool } from "safetensors.js/workers";
import { sha256 } from "./describe.mjs";

/** Checks of workers that share memory. A page that is not isolated from other origins has none, and is told so. */
export const pools = {
  async "a pool of kernels"() {
    if (globalThis.crossOriginIsolated === false) return refusals();
    const pool = openKernelPool({ workers: 2 });
    try {
      const found = [];
      for (const rows of [1027, 3]) {
        const call = callOf(rows);
        for (const dtype of ["F32", "BF16"]) {
          const [made, plain] = [await pool.dense(call, dtype), plainKernels.dense(call, dtype)];
          // A digest is not made of shared memory.
          const hash = await sha256(made.slice());
          if (hash !== (await sha256(plain)))
            throw new Error(`${rows} rows as ${dtype} are not as without it`);
          found.push([rows, dtype, made.buffer instanceof SharedArrayBuffer, hash]);
        }
      }
      return found;
    } finally {
      await pool.close();
    }
  },
  async "casts in the memory of a pool"() {
    if (globalThis.crossOriginIsolated === false) return "no shared memory";
    const values = 1_000_003;
    const pool = openKernelPool({ workers: 2, memory: values * 6 + 4096 });
    try {
      const [bytes, result] = [pool.allocate(values * 4), pool.allocate(values * 2)];
      if (bytes.buffer !== result.buffer) throw new Error("the arrays are not in the pool's memory");
      const floats = new Float32Array(bytes.buffer, bytes.byteOffset, values);
      for (let i = 0; i < values; i++) floats[i] = (i - values / 2) * 1.0001;
      const hashes = [];
      for (const dtype of ["F16", "BF16"]) {
        await pool.cast("F32", dtype, bytes, result);
        const hash = await sha256(result.slice());
        if (hash !== (await sha256(plainKernels.cast("F32", dtype, bytes.slice()))))
          throw new Error(`values as ${dtype} are not as without it`);
        hashes.push(hash);
      }
      return hashes;
    } finally {
      await pool.close();
    }
  },
};

/** What a page is told that cannot share memory, by both kinds of pools. */
async function refusals() {
  const found = [];
  for (const start of [() => openKernelPool(), () => openPool(new Blob())]) {
    try {
      await (await start()).close();
      found.push("none");
    } catch (error) {
      if (!(error instanceof SafetensorsError)) throw error;
      found.push([error.code, error.details.kind, error.message]);
    }
  }
  return found;
}

/** A call of so many rows of 1024; workers share the work of a large one. */
function callOf(rows) {
  const groups = rows * 8;
  return {
    kernel: "packed-rows",
    rows,
    columns: 1024,
    bits: 4,
    words: Uint32Array.from({ length: rows * 128 }, (_, i) => Math.imul(i, 0x9e3779b9)),
    scales: Float32Array.from({ length: groups }, (_, i) => 1 / (i + 1)),
    zeros: 8,
    groups: 128,
  };
}
