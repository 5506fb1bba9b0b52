import assert from "node:assert/strict";
import { test } from "node:test";
import { fromBytes } from "../../src/source/memory.ts";
import { openTorch } from "../../src/torch/index.ts";
import { scan } from "../../src/torch/scan/index.ts";
import { finish, type Steps, steadily, untilDone } from "../../src/torch/steps.ts";

test("work in steps gives the same result at once and steadily", async () => {
  const countTo = (end: number): Steps<number> => {
    let count = 0;
    return untilDone(() => (++count === end ? count : undefined));
  };
  assert.equal(finish(countTo(1000)), 1000);
  assert.equal(await steadily(countTo(1000), undefined), 1000);
});

test("a timer gets its turn during endless work, and the signal ends it", async () => {
  const controller = new AbortController();
  setTimeout(() => controller.abort(new Error("enough")), 0);
  const endless = untilDone(() => undefined);
  await assert.rejects(steadily(endless, controller.signal), /enough/);
});

/** A pickle that puts None on the stack and takes it away, so many times that it takes longer than a turn. */
function longPickle(): Uint8Array {
  const bytes = new Uint8Array(1 << 25).fill(0x30);
  for (let at = 2; at < bytes.length; at += 2) bytes[at] = 0x4e;
  bytes.set([0x80, 0x02]);
  bytes.set([0x4e, 0x2e], bytes.length - 2);
  return bytes;
}

test("the signal ends the following of a pickle", async () => {
  const bytes = longPickle();
  for (const act of [openTorch, scan]) {
    const controller = new AbortController();
    setTimeout(() => controller.abort(new Error("enough")), 0);
    await assert.rejects(act(fromBytes(bytes), { signal: controller.signal }), /enough/);
  }
});
