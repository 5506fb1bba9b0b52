import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { setTimeout } from "node:timers/promises";
import fc from "fast-check";
import { castFloats } from "../../src/dtype/cast.ts";
import { DTYPES } from "../../src/dtype/dtype.ts";
import type { KernelCall } from "../../src/quant/kernels/call.ts";
import { runKernel } from "../../src/quant/kernels/run.ts";
import { openKernelPool } from "../../src/workers/kernel-pool.ts";
import { CALLS, sameFloats } from "../quant/kernel-calls.ts";

const GROUP = 128;

/** A call of so many rows of 1024; large ones are done by all workers. */
function callOf(rows: number): KernelCall {
  const groups = rows * (1024 / GROUP);
  return {
    kernel: "packed-rows",
    rows,
    columns: 1024,
    bits: 4,
    words: Uint32Array.from({ length: rows * 128 }, (_, i) => Math.imul(i, 0x9e3779b9)),
    scales: Float32Array.from({ length: groups }, (_, i) => 1 / (i + 1)),
    zeros: 8,
    groups: GROUP,
  };
}

/** The same, but that no kernel is made for it. */
function unusualCallOf(rows: number): KernelCall {
  const columns = 1021;
  return {
    kernel: "k-major",
    rows,
    columns,
    bits: 3,
    words: Uint32Array.from({ length: 96 * rows }, (_, i) => Math.imul(i, 0x9e3779b9)),
    scales: Float32Array.from({ length: rows }, (_, i) => i / 7),
    zeros: new Uint8Array(rows).fill(3),
    groups: columns,
  };
}

function plain(call: KernelCall): Float32Array {
  const out = new Float32Array(call.rows * call.columns);
  runKernel(call, out);
  return out;
}

/** What a pool gives, as numbers. */
async function floats(bytes: Promise<Uint8Array>): Promise<Float32Array> {
  return new Float32Array((await bytes).buffer);
}

describe("a pool for kernel calls", () => {
  const pool = openKernelPool({ workers: 2 });
  after(() => pool.close());

  it("gives what is given here, of large calls and small, many at a time", async () => {
    const calls: KernelCall[] = [
      callOf(1027),
      unusualCallOf(700),
      callOf(3),
      ...fc.sample(fc.oneof(...Object.values(CALLS)), { seed: 42, numRuns: 30 }),
    ];
    const results = await Promise.all(calls.map((call) => floats(pool.dense(call, "F32"))));
    for (const [i, call] of calls.entries()) assert.ok(sameFloats(results[i]!, plain(call)), `call ${i}`);
  });

  it("casts", async () => {
    const call = callOf(1027);
    const values = new Uint8Array(plain(call).buffer);
    for (const dtype of ["BF16", "F8_E5M2"] as const)
      assert.deepEqual(await pool.dense(call, dtype), castFloats("F32", dtype, values));
    const into = new Uint8Array(new SharedArrayBuffer(values.length));
    assert.equal(await pool.dense(call, "F32", into), into);
    assert.deepEqual(into, values);
    await assert.rejects(pool.dense(call, "F32", values), { code: "UNSUPPORTED" });
    await assert.rejects(pool.dense(call, "I8" as "F32"), { code: "UNSUPPORTED" });
    await assert.rejects(pool.dense(call, "F32", into.subarray(4)), { code: "SIZE_MISMATCH" });
  });

  it("casts packed floats, shared out, of every width", async () => {
    const count = 600_004;
    const values = Uint8Array.from({ length: count * 4 }, (_, i) => Math.imul(i, 2654435761) >>> 26);
    for (const [from, to] of [
      ["F32", "BF16"],
      ["BF16", "F32"],
      ["F32", "F8_E4M3"],
      ["F16", "F6_E2M3"],
      ["F4", "F64"],
    ] as const) {
      const bytes = values.subarray(0, (count * DTYPES[from].bits) / 8);
      const cast = await pool.cast(from, to, bytes);
      assert.ok(Buffer.from(cast).equals(castFloats(from, to, bytes)), `${from} to ${to}`);
      assert.equal(await pool.cast(from, to, bytes, cast), cast);
    }
    await assert.rejects(pool.cast("F32", "BF16", new Uint8Array(7)), { code: "SIZE_MISMATCH" });
    await assert.rejects(pool.cast("F32", "F4", new Uint8Array(4)), { code: "SIZE_MISMATCH" });
    await assert.rejects(pool.cast("I8" as "F32", "F4", new Uint8Array(4)), { code: "UNSUPPORTED" });
    const shared = new Uint8Array(new SharedArrayBuffer(8));
    await assert.rejects(pool.cast("F32", "BF16", new Uint8Array(8), shared), { code: "SIZE_MISMATCH" });
    await assert.rejects(pool.cast("F32", "F32", new Uint8Array(8), new Uint8Array(8)), {
      code: "UNSUPPORTED",
    });
  });

  it("casts in memory of its own, which it lends", async () => {
    const count = 600_013;
    await using lender = openKernelPool({ workers: 2, memory: 16 << 20 });
    const dtypes = ["F32", "BF16", "F16", "F8_E4M3", "F8_E5M2", "F64"] as const;
    const same = fc.asyncProperty(
      fc.constantFrom(...dtypes),
      fc.constantFrom(...dtypes),
      fc.constantFrom(5, 400, count),
      fc.tuple(fc.boolean(), fc.boolean()),
      async (from, to, count, [isInside, isAfterInside]) => {
        const [size, sizeAfter] = [DTYPES[from].bits / 8, DTYPES[to].bits / 8];
        const memoryFor = (isLent: boolean, bytes: number): Uint8Array =>
          isLent ? lender.allocate(bytes) : new Uint8Array(new SharedArrayBuffer(bytes));
        const bytes = memoryFor(isInside, count * size);
        const neighbour = lender.allocate(64).fill(99);
        const into = memoryFor(isAfterInside, count * sizeAfter);
        const behind = lender.allocate(64).fill(99);
        for (let i = 0; i < bytes.length; i++) bytes[i] = Math.imul(i, 2654435761) >>> 25;
        assert.equal(await lender.cast(from, to, bytes, into), into);
        assert.ok(Buffer.from(into).equals(castFloats(from, to, new Uint8Array(bytes))));
        assert.ok([...neighbour, ...behind].every((byte) => byte === 99));
        for (const memory of [bytes, neighbour, into, behind]) lender.release(memory);
      },
    );
    await fc.assert(same, { seed: 42, numRuns: 60 });
  });

  it("lends other shared memory when there is no more, or none is set apart", async () => {
    const lender = openKernelPool({ workers: 1, memory: 1000 });
    const [first, second] = [lender.allocate(1000), lender.allocate(1000)];
    assert.notEqual(first.buffer, second.buffer);
    for (const memory of [first, second, pool.allocate(1000)]) {
      assert.ok(memory.buffer instanceof SharedArrayBuffer);
      assert.equal(memory.length, 1000);
      pool.release(memory);
      lender.release(memory);
    }
    assert.equal(lender.allocate(500).byteOffset, first.byteOffset);
    assert.throws(() => lender.allocate(-1), RangeError);
    // The work that is shared out is done there, too.
    assert.deepEqual(
      await lender.dense(callOf(1), "BF16", lender.allocate(2048)),
      await pool.dense(callOf(1), "BF16"),
    );
    first.fill(63);
    await lender.close();
    assert.throws(() => lender.allocate(1), { code: "CLOSED" });
    assert.equal(first[999], 63);
    for (const memory of [-1, 0.5, 2 ** 32])
      assert.throws(() => openKernelPool({ workers: 1, memory }), { code: "OUT_OF_RANGE" });
  });

  it("sends errors back, and goes on", async () => {
    const call = callOf(4);
    await assert.rejects(pool.dense({ ...call, rows: 5 }, "F32"), { code: "SIZE_MISMATCH" });
    const nan = { ...call, scales: new Float32Array(32).fill(Number.NaN) } as KernelCall;
    await assert.rejects(pool.dense(nan, "F4"), { code: "UNSUPPORTED" });
    assert.ok(sameFloats(await floats(pool.dense(call, "F32")), plain(call)));
  });

  it("fails what it is doing when it is closed or aborted, and what comes later", async () => {
    const closed = openKernelPool({ workers: 2 });
    const working = closed.dense(callOf(1027), "F32");
    await Promise.all([assert.rejects(working, { code: "CLOSED" }), closed.close()]);
    await assert.rejects(closed.dense(callOf(1), "F32"), { code: "CLOSED" });

    const stopper = new AbortController();
    const other = openKernelPool({ workers: 1, signal: stopper.signal });
    const stopped = other.dense(callOf(1), "F32");
    stopper.abort(new Error("enough"));
    await assert.rejects(stopped, /^Error: enough/);
    await assert.rejects(other.dense(callOf(1), "F32"), /^Error: enough/);
    assert.throws(() => openKernelPool({ signal: stopper.signal }), /^Error: enough/);
  });

  it("fails a call only when nobody writes into its memory any more", async () => {
    const stopper = new AbortController();
    const program = new URL("./endless-program.js", import.meta.url);
    const endless = openKernelPool({ workers: 1, program, signal: stopper.signal });
    const into = new Uint8Array(new SharedArrayBuffer(1 << 20));
    const casting = endless.cast("F32", "F32", new Uint8Array(into.length), into);
    while (into[0] === 0) await setTimeout(1);
    stopper.abort();
    await assert.rejects(casting, { name: "AbortError" });
    const last = into.at(-1);
    await setTimeout(100);
    assert.equal(into.at(-1), last);
  });

  it("needs a number of workers that is possible", () => {
    for (const workers of [0, 1.5, 65])
      assert.throws(() => openKernelPool({ workers }), { code: "OUT_OF_RANGE" });
  });
});
