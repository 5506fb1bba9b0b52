// Makes a weight dense, or casts one, over and over, into the same memory; only that is timed. Then hashes the result.
import { createHash } from "node:crypto";
import { toFloat32 } from "safetensors.js/dtype";
import { loadKernels } from "safetensors.js/quant";
import { openKernelPool } from "safetensors.js/workers";
import { report } from "./report.mjs";

const [task, threads, side] = process.argv.slice(2);
const REPEATS = 9;

const n = Number(side);
const GROUP = 128;

/** Words that Python makes alike. */
function words(count, seed) {
  const result = new Uint32Array(count);
  for (let i = 0; i < count; i++)
    result[i] = Math.imul(i + seed, 0x9e3779b9) ^ (Math.imul(i, 0x85ebca6b) >>> 13);
  return result;
}

/** Floats from 1/128 to 1/64. */
const floats = (count) => new Float32Array(words(count, 7).map((word) => 0x3c000000 | (word >>> 9)).buffer);

/** Bytes none of which is a NaN as F8_E4M3. */
const f8 = () => new Uint8Array(words((n * n) / 4, 1).map((word) => word & 0xf7f7f7f7).buffer);

const grouped = {
  rows: n,
  columns: n,
  scales: floats((n * n) / GROUP),
  zeros: new Uint8Array((n * n) / GROUP).fill(8),
};
const packed = words((n * n) / 8, 1);
const CALLS = {
  gptq: () => ({ kernel: "k-major", ...grouped, bits: 4, words: packed, groups: GROUP }),
  awq: () => ({ kernel: "awq", ...grouped, words: packed, group: GROUP }),
  fp8: () => ({
    kernel: "scaled-bytes",
    rows: n,
    columns: n,
    codes: f8(),
    table: toFloat32(
      "F8_E4M3",
      Uint8Array.from({ length: 256 }, (_, code) => code),
      256,
    ),
    scales: floats((n / GROUP) ** 2),
    blockRows: GROUP,
    blockColumns: GROUP,
  }),
  mxfp4: () => ({
    kernel: "scaled-nibbles",
    rows: n,
    columns: n,
    codes: new Uint8Array(packed.buffer),
    highFirst: false,
    table: Float32Array.of(0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6),
    scales: toFloat32("F8_E8M0", exponents((n * n) / 32), (n * n) / 32),
    block: 32,
  }),
};

/** E8M0 from 2^-7 to 2^0. */
function exponents(count) {
  return Uint8Array.from(words(count, 7), (word) => 120 + (word >>> 29));
}

const DTYPES = { f32: "F32", f16: "F16", bf16: "BF16", f8: "F8_E4M3" };
const WIDTHS = { f32: 4, f16: 2, bf16: 2, f8: 1 };

const [from, to = "f32"] = task.split("-");
const isCast = !CALLS[from];
const kernels = await loadKernels({ memory: isCast ? n * n * 8 + 4096 : 0 });
let compute;
let copy;
let close = () => {};
if (isCast) {
  const made = from === "f8" ? f8() : kernels.cast("F32", DTYPES[from], new Uint8Array(floats(n * n).buffer));
  const arguments_ = [DTYPES[from], DTYPES[to]];
  const size = n * n * WIDTHS[to];
  if (threads === "one") {
    // Where the kernels need not copy.
    const bytes = kernels.allocate(made.length);
    bytes.set(made);
    const result = kernels.allocate(size);
    compute = () => kernels.cast(...arguments_, bytes, result);
  } else {
    const pool = openKernelPool();
    const bytes = new Uint8Array(new SharedArrayBuffer(made.length));
    bytes.set(made);
    const result = await pool.cast(...arguments_, bytes);
    compute = () => pool.cast(...arguments_, bytes, result);
    close = () => pool.close();
  }
  // As many bytes of traffic as the cast has: half are read, half written.
  const half = (made.length + size) / 2;
  const [source, target] = [new Uint8Array(half).fill(1), new Uint8Array(half).fill(2)];
  copy = () => target.set(source);
} else {
  const call = CALLS[from]();
  const dtype = DTYPES[to];
  if (threads === "one") {
    const result = kernels.dense(call, dtype);
    compute = () => kernels.dense(call, dtype, result);
  } else {
    const pool = openKernelPool();
    const result = await pool.dense(call, dtype);
    compute = () => pool.dense(call, dtype, result);
    close = () => pool.close();
  }
}

const times = [];
const copies = [];
let result;
for (let run = 0; run < 2 * REPEATS; run++) {
  const start = performance.now();
  result = await compute();
  const end = performance.now();
  copy?.();
  // The first ones are compiled on the way.
  if (run < REPEATS) continue;
  times.push(end - start);
  if (copy) copies.push(performance.now() - end);
}
await close();
report({ times, copies, checksum: createHash("sha256").update(result).digest("hex") });
