// Makes weights dense, or casts them, over and over, into the same memory; only that is timed. Then hashes the results.
// All of the tasks that are named, by one thread and by all.
import { createHash } from "node:crypto";
import { toFloat32 } from "safetensors.js/dtype";
import { hugePageAdvice } from "safetensors.js/node";
import { loadKernels } from "safetensors.js/quant";
import { openKernelPool } from "safetensors.js/workers";
import { report } from "./report.mjs";

const [side, ...tasks] = process.argv.slice(2);
const REPEATS = 11;

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
const packed = () => words((n * n) / 8, 1);
const CALLS = {
  gptq: () => ({ kernel: "k-major", ...grouped, bits: 4, words: packed(), groups: GROUP }),
  awq: () => ({ kernel: "awq", ...grouped, words: packed(), group: GROUP }),
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
    codes: new Uint8Array(packed().buffer),
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

// Room for the arrays of the casts, in both: at most 4 bytes of each value before it, and as many after it.
const kernels = await loadKernels({ memory: n * n * 8 + 4096 });
const pool = openKernelPool({ memory: n * n * 8 + 4096 });
const advise = await hugePageAdvice();
for (const owner of [kernels, pool]) {
  const all = owner.allocate(n * n * 8);
  advise(all);
  owner.release(all);
}
const measured = {};
for (const task of tasks) {
  const [from, to = "f32"] = task.split("-");
  measured[task] = CALLS[from]
    ? await measureDense(CALLS[from](), DTYPES[to], n * n * WIDTHS[to])
    : await measureCast(from, to);
}
await pool.close();
report({ measured });

async function measureDense(call, dtype, size) {
  const copy = copier(size);
  const alone = kernels.dense(call, dtype);
  const inShared = Object.fromEntries(
    Object.entries(call).map(([key, value]) => [key, ArrayBuffer.isView(value) ? shared(value) : value]),
  );
  const together = await pool.dense(inShared, dtype);
  return {
    one: await measure(() => kernels.dense(call, dtype, alone), copy),
    all: await measure(() => pool.dense(inShared, dtype, together), copy),
  };
}

async function measureCast(from, to) {
  const dtypes = [DTYPES[from], DTYPES[to]];
  const made = from === "f8" ? f8() : kernels.cast("F32", DTYPES[from], new Uint8Array(floats(n * n).buffer));
  const size = n * n * WIDTHS[to];
  const copy = copier((made.length + size) / 2);
  // Where neither the kernels nor the workers need copy.
  const run = async (memory, cast) => {
    const [bytes, result] = [memory.allocate(made.length), memory.allocate(size)];
    bytes.set(made);
    const measured = await measure(() => cast(bytes, result), copy);
    for (const lent of [bytes, result]) memory.release(lent);
    return measured;
  };
  return {
    one: await run(kernels, (bytes, result) => kernels.cast(...dtypes, bytes, result)),
    all: await run(pool, (bytes, result) => pool.cast(...dtypes, bytes, result)),
  };
}

/** An array in shared memory, from which workers need not be sent it. */
function shared(array) {
  const copy = new array.constructor(new SharedArrayBuffer(array.byteLength));
  copy.set(array);
  return copy;
}

/** Copies so many bytes: the least that can be done with as many that are read and as many that are written. */
function copier(size) {
  const [source, target] = [new Uint8Array(size).fill(1), new Uint8Array(size).fill(2)];
  return () => target.set(source);
}

/** Milliseconds of computing and, after that, of copying, and the hash of the result. The first ones are compiled on the way. */
async function measure(compute, copy) {
  const { times, result } = await repeat(compute);
  const { times: copies } = await repeat(copy);
  return { times, copies, checksum: createHash("sha256").update(result).digest("hex") };
}

async function repeat(work) {
  const times = [];
  let result;
  for (let run = -REPEATS; run < REPEATS; run++) {
    const start = performance.now();
    result = await work();
    if (run >= 0) times.push(performance.now() - start);
  }
  return { times, result };
}
