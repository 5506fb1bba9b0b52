import assert from "node:assert/strict";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { fromBytes } from "../../../src/source/memory.ts";
import { type FindingCode, type ScanReport, scan, type Verdict } from "../../../src/torch/scan/index.ts";
import { ScanHooks } from "../../../src/torch/scan/pickle-hooks.ts";

/** The report of bytes, whose findings must be worth being shown. */
export async function scanned(bytes: Uint8Array, file = "model.pt"): Promise<ScanReport> {
  const report = await scan(fromBytes(bytes, file));
  for (const { message, member, at, fileOffset, opcode } of report.findings) {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there.
    assert.doesNotMatch(`${message} ${opcode}`, /[\0-\x1f\x7f-\x9f\u202a-\u202e]/);
    assert.ok(message.length < 1000 && member.every((name) => name.length <= 201));
    for (const place of [at, fileOffset]) assert.ok(place === undefined || Number.isSafeInteger(place));
  }
  return report;
}

/** A case: what the bytes are, the verdict, and the codes that must be found, besides others. */
export type Row = readonly [what: string, bytes: Uint8Array, verdict: Verdict, ...codes: FindingCode[]];

export async function checkRow([what, bytes, verdict, ...codes]: Row): Promise<void> {
  const report = await scanned(bytes);
  const found = report.findings.map(({ code }) => code);
  assert.equal(report.verdict, verdict, `${what}: ${JSON.stringify(report.findings)}`);
  for (const code of codes) assert.ok(found.includes(code), `${what}: no ${code} in ${found.join()}`);
}

/** Bytes on the heap that something still holds whenever a hook is called in a scan of bytes. */
export async function heapsAt(
  name: "onGlobal" | "checkValues",
  bytes: Uint8Array,
  counts: (value: unknown) => boolean = () => true,
): Promise<number[]> {
  setFlagsFromString("--expose-gc");
  const gc: () => void = runInNewContext("gc");
  const heaps: number[] = [];
  const hooks: { [hook in typeof name]: (value: never) => void } = ScanHooks.prototype;
  const original = hooks[name];
  // A mock of the test runner would keep the hooks.
  hooks[name] = function (this: ScanHooks, value: never) {
    if (counts(value)) {
      gc();
      heaps.push(process.memoryUsage().heapUsed);
    }
    original.call(this, value);
  };
  try {
    await scanned(bytes);
  } finally {
    hooks[name] = original;
  }
  return heaps;
}
