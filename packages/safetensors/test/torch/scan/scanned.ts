import assert from "node:assert/strict";
import { fromBytes } from "../../../src/source/memory.ts";
import { type FindingCode, type ScanReport, scan, type Verdict } from "../../../src/torch/scan/index.ts";

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
