import assert from "node:assert/strict";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { Progress } from "../../src/plan/execute.ts";
import { openPool } from "../../src/workers/index.ts";
import { FileServer, good, stall } from "../source/http-server.ts";
import { handMade, noise, raises, temporaryFolder } from "../support.ts";
import { tensorOf } from "./checkpoints.ts";

const KiB = 1 << 10;
const folder = temporaryFolder();

/** Forty tensors of 64 KiB. */
const names = Array.from({ length: 40 }, (_, i) => `t.${i}`);
const path = join(folder, "forty.safetensors");
writeFileSync(
  path,
  handMade(Object.fromEntries(names.map((name, i) => [name, tensorOf("U8", [64 * KiB], i)]))),
);

const dying = new URL("./dying-program.js", import.meta.url);
const idle = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

describe("the budget of a call", () => {
  it("is how far it reads ahead of its caller", async () => {
    await using pool = await openPool(path, { workers: 2 });
    for (const [form, most] of [
      ["bytes", 10],
      // A quarter is the source's, and the rest that of what is made from it.
      ["F32", 2],
    ] as const) {
      let progress: Progress | undefined;
      const budget = 640 * KiB;
      let handedOut = 0;
      const onProgress = (now: Progress): void => {
        progress = now;
        assert.ok(now.tensors - handedOut <= most, `${now.tensors} read, ${handedOut} asked for`);
      };
      for await (const _ of pool.read({ as: form, budget, onProgress })) {
        if (handedOut === 0) {
          await idle(100);
          assert.ok(progress!.tensors > 1 || form === "F32", "it does read ahead");
        }
        handedOut++;
      }
      assert.deepEqual(progress, {
        bytes: 40 * 64 * KiB,
        totalBytes: 40 * 64 * KiB,
        tensors: 40,
        totalTensors: 40,
      });
    }
  });

  it("is an error, before anything is read, where a tensor does not fit", async () => {
    await using pool = await openPool(path, { workers: 2 });
    const reading = pool.read({ budget: 64 * KiB - 1, onProgress: () => assert.fail("it has read") });
    await assert.rejects(
      reading.next(),
      raises("LIMIT_EXCEEDED", /65536/, { limit: "budget", tensor: "t.0" }),
    );
    await assert.rejects(pool.get("t.3", { as: "F32", budget: 320 * KiB - 1 }), raises("LIMIT_EXCEEDED"));
    assert.equal((await pool.get("t.3", { as: "F32", budget: 320 * KiB })).bytes.length, 256 * KiB);
  });

  it("is enough for memory that serves again and again", async () => {
    await using pool = await openPool(path, { workers: 2 });
    const memories = new Set<ArrayBufferLike>();
    let i = 0;
    for await (const { name, bytes } of pool.read({ borrowed: true, budget: 256 * KiB })) {
      assert.equal(name, names[i]);
      assert.ok(Buffer.compare(bytes, noise(64 * KiB, i++)) === 0);
      memories.add(bytes.buffer);
    }
    assert.equal(i, 40);
    assert.ok(memories.size <= 4, `${memories.size} pieces of memory`);
  });
});

describe("a call that ends early", () => {
  it("by its signal leaves others alone", async () => {
    await using pool = await openPool(path, { workers: 2 });
    const stopper = new AbortController();
    const given = { budget: 256 * KiB };
    const ended = pool.read({ ...given, signal: stopper.signal });
    const other = pool.read(given);
    await ended.next();
    await other.next();
    const pending = ended.next();
    stopper.abort(new Error("enough"));
    await pending.catch(() => {});
    await assert.rejects(async () => {
      for await (const _ of ended);
      await pending;
      for await (const _ of pool.read({ signal: stopper.signal }));
    }, /enough/);
    let left = 0;
    for await (const { name, bytes } of other) {
      left++;
      assert.equal(name, names[left]);
      assert.ok(Buffer.compare(bytes, noise(64 * KiB, left)) === 0);
    }
    assert.equal(left, 39);
  });

  it("does not wait for a server that sends nothing more, nor does its worker", async () => {
    const file = handMade({ a: tensorOf("U8", [1 << 20]) });
    const server = await FileServer.start(file);
    await using pool = await openPool(server.url, { workers: 1 });
    server.usual = stall(10);
    const stopper = new AbortController();
    const { signal } = stopper;
    // As many as a worker takes at a time.
    const stalled = [pool.get("a", { signal }), pool.get("a", { signal })];
    const ended = Promise.allSettled(stalled);
    await idle(50);
    stopper.abort(new Error("enough"));
    const reasons = (await ended).map((result) =>
      result.status === "rejected" ? result.reason.message : "",
    );
    assert.deepEqual(reasons, ["enough", "enough"]);
    server.usual = good;
    assert.equal((await pool.get("a")).bytes.length, 1 << 20);
  });

  it("by its caller, or by an error in onProgress, leaves the pool working", async () => {
    await using pool = await openPool(path, { workers: 2 });
    for await (const { name } of pool.read({ budget: 256 * KiB })) if (name === "t.3") break;
    const onProgress = (): void => {
      throw new Error("not mine");
    };
    await assert.rejects(pool.read({ onProgress }).next(), /not mine/);
    assert.equal((await pool.get("t.7")).bytes.length, 64 * KiB);
  });
});

describe("a worker that dies", () => {
  for (const [name, reason] of [
    ["exit", /code 7/],
    ["throw", /out of order/],
  ] as const) {
    it(`fails what is being read and closes the pool: ${name}`, async () => {
      const file = handMade({ good: tensorOf("U8", [4]), [name]: tensorOf("U8", [4]) });
      await using pool = await openPool(file, { workers: 2, program: dying });
      assert.equal((await pool.get("good")).bytes.length, 4);
      const died = raises("IO", reason);
      await assert.rejects(pool.get(name), died);
      await assert.rejects(pool.get("good"), died);
    });
  }

  it("fails the opening, if there is no such program", async () => {
    const opening = openPool(path, { workers: 2, program: new URL("./missing.js", import.meta.url) });
    await assert.rejects(opening, raises("IO", /missing\.js/));
  });
});

describe("a pool that is closed", () => {
  it("fails what is being read and what is asked for later, and closes its files", async () => {
    const openFiles = (): number => (process.platform === "linux" ? readdirSync("/proc/self/fd").length : 0);
    const count = openFiles();
    const pool = await openPool(path, { workers: 2 });
    const first = await pool.get("t.0");
    const reading = pool.read({ budget: 128 * KiB });
    await reading.next();
    const pending = pool.get("t.9").catch((error: unknown) => error);
    await Promise.all([pool.close(), pool.close()]);
    assert.ok(raises("CLOSED")(await pending));
    await assert.rejects(async () => {
      for await (const _ of reading);
    }, raises("CLOSED"));
    await assert.rejects(pool.get("t.1"), raises("CLOSED", /closed/));
    assert.ok(Buffer.compare(first.bytes, noise(64 * KiB, 0)) === 0, "what has been read stays");
    assert.equal(openFiles(), count);
  });

  it("while it is being opened has never been open", async () => {
    const stopper = new AbortController();
    const opening = openPool(path, { workers: 2, signal: stopper.signal });
    stopper.abort(new Error("enough"));
    await assert.rejects(opening, /enough/);
  });
});
