import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { describe, it } from "node:test";
import { SafetensorsError } from "../../src/errors.ts";
import { Interruption, Tries } from "../../src/source/backoff.ts";
import { raises } from "../support.ts";

const interruption = (wait?: number): Interruption =>
  new Interruption(new SafetensorsError("IO", "dropped"), wait);

/** Milliseconds that a wait takes. */
async function duration(wait: Promise<void>): Promise<number> {
  const start = performance.now();
  await wait;
  // A timer may fire early by as long as the turn that set it took.
  return performance.now() - start + 10;
}

describe("Tries", () => {
  it("allow as many tries as were asked for, and then throw the failure", async () => {
    for (const tries of [2, 3, 5]) {
      const count = new Tries({ tries, firstWait: 0 });
      for (let i = 1; i < tries; i++) await count.failed(interruption());
      await assert.rejects(
        count.failed(interruption()),
        raises("IO", new RegExp(`dropped \\(${tries} tries\\)$`)),
      );
    }
    for (const tries of [1, 0, -1, Number.NaN]) {
      await assert.rejects(new Tries({ tries }).failed(interruption()), raises("IO", /dropped$/), `${tries}`);
    }
  });

  it("begin anew after progress", async () => {
    const tries = new Tries({ tries: 2, firstWait: 0 });
    for (let i = 0; i < 10; i++) {
      await tries.failed(interruption());
      tries.progress();
    }
    await tries.failed(interruption());
    await assert.rejects(tries.failed(interruption()), raises("IO"));
  });

  it("wait twice as long each time, between half of that and all", async () => {
    const tries = new Tries({ firstWait: 40 });
    for (const least of [20, 40, 80]) assert.ok((await duration(tries.failed(interruption()))) >= least);
  });

  it("wait at most the longest wait", async () => {
    const tries = new Tries({ tries: 30, firstWait: 1, longestWait: 5 });
    // The last would wait for days.
    for (let i = 1; i < 30; i++) await tries.failed(interruption());
  });

  it("wait as long as the server asks, within reason", async () => {
    assert.ok((await duration(new Tries({ firstWait: 1 }).failed(interruption(60)))) >= 60);
    for (const wait of [1e6, Infinity]) {
      const time = await duration(new Tries({ firstWait: 1, longestWait: 30 }).failed(interruption(wait)));
      assert.ok(time >= 30 && time < 5000, `${time}`);
    }
  });

  it("end the wait at once when the signal does", async () => {
    const controller = new AbortController();
    const wait = new Tries({ firstWait: 1e12, longestWait: Infinity }).failed(
      interruption(),
      controller.signal,
    );
    setTimeout(() => controller.abort(new Error("enough")), 5);
    await assert.rejects(wait, /enough/);
    await assert.rejects(
      new Tries().failed(interruption(), AbortSignal.abort(new Error("before"))),
      /before/,
    );
  });

  it("may wait many at once for one signal", async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error): unknown => warnings.push(warning);
    process.on("warning", onWarning);
    const { signal } = new AbortController();
    await Promise.all(
      Array.from({ length: 20 }, () => new Tries({ firstWait: 5 }).failed(interruption(), signal)),
    );
    process.off("warning", onWarning);
    assert.deepEqual(warnings, []);
    assert.equal(getEventListeners(signal, "abort").length, 0);
  });
});
