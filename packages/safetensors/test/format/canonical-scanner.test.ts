import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DTYPE_ORDER } from "../../src/dtype/dtype.ts";
import { CanonicalScanner } from "../../src/format/canonical-scanner.ts";
import { encodeHeader } from "../../src/format/encode.ts";
import { TensorTable } from "../../src/format/tensor-table.ts";

// That it agrees with the general way is tested wherever headers are parsed; this is about not leaving work to it.

/** How far the scanner gets in a text, beginning behind the brace, and how many entries it takes. */
function scan(text: string): { rest: string; count: number } {
  const json = new TextEncoder().encode(text);
  const table = new TensorTable(json);
  const at = new CanonicalScanner(table).scan(1, true);
  return { rest: new TextDecoder().decode(json.subarray(at)), count: table.count };
}

const entry = '{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}';

describe("CanonicalScanner", () => {
  it("takes every entry that encodeHeader writes, of every dtype and rank", () => {
    const tensors = DTYPE_ORDER.flatMap((dtype) =>
      [[], [8], [1, 0, 4], [123_456, 8, 1000]].map((shape, i) => {
        return [
          `é ${dtype}.${i}`,
          { dtype, shape: dtype.startsWith("F4") || dtype.startsWith("F6") ? [...shape, 4] : shape },
        ] as const;
      }),
    );
    const { bytes } = encodeHeader(tensors);
    assert.deepEqual(scan(Buffer.from(bytes.subarray(8)).toString().trimEnd()), {
      rest: "}",
      count: tensors.length,
    });
  });

  it("takes tensors without bytes at the very beginning", () => {
    const empty = '"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}';
    assert.deepEqual(scan(`{${empty}}`), { rest: "}", count: 1 });
  });

  it("stops before what it does not know, which is left to the general way", () => {
    for (const odd of [
      `"__metadata__":{"format":"pt"}`,
      `"\\u0061":${entry}`,
      `"b": ${entry}`,
      `"b":${entry.replace("F32", "F31")}`,
      `"b":${entry.replace("[2,3]", "[2, 3]")}`,
      `"b":${entry.replace("[2,3]", "[02,3]")}`,
      `"b":${entry.replace("[2,3]", "[2,3000000000000000]")}`,
      `"b":${entry.replace("[2,3]", "[200000000,300000000]")}`,
      `"b":${entry.replace("24]", "24,1]")}`,
      `"b":${entry.replace('"shape"', '"shapf"')}`,
      `"b":${entry.replace("dtype", "dtypf")}`,
      `"b":${entry.replace("data_offsets", "data_offsetz")}`,
      '"b":{}',
    ]) {
      const rest = `,${odd},"c":${entry}}`;
      assert.deepEqual(scan(`{"a":${entry}${rest}`), { rest, count: 1 });
      assert.deepEqual(scan(`{${odd}}`), { rest: `${odd}}`, count: 0 });
    }
  });

  it("stops where the text ends", () => {
    const text = `"a":${entry}`;
    for (let end = 0; end < text.length; end++) {
      assert.deepEqual(scan(`{${text.slice(0, end)}`), { rest: text.slice(0, end), count: 0 });
    }
    assert.deepEqual(scan(`{${text},`), { rest: ",", count: 1 });
  });

  it("goes on behind what it does not know", () => {
    const json = new TextEncoder().encode(`{"\\n":${entry},"b":${entry},"c":${entry}}`);
    const table = new TensorTable(json);
    const scanner = new CanonicalScanner(table);
    assert.equal(scanner.scan(1, true), 1);
    const behind = 1 + `"\\n":${entry}`.length;
    assert.equal(scanner.scan(behind, false), json.length - 1);
    assert.equal(table.count, 2);
  });
});
