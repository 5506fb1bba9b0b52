import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SafetensorsError } from "../../src/errors.ts";
import { readCanonicalHeader } from "../../src/format/canonical-header.ts";
import { encodeHeader, type TensorSpec } from "../../src/format/encode.ts";
import { type Header, readHeaderLength } from "../../src/format/header.ts";
import type { ReadMode } from "../../src/format/mode.ts";
import { parseHeader } from "../../src/format/parse-header.ts";
import { fixture } from "../fixtures.ts";

// Both tables were written by interop/format_cases.py, which asked the reference implementation.
interface ReadCase {
  readonly name: string;
  readonly base64: string;
  readonly accepted: boolean;
  readonly error?: string;
  readonly tensors: readonly {
    name: string;
    dtype: string;
    shape: (number | string)[];
    data_offsets: [number, number];
  }[];
  readonly metadata: Record<string, string> | null;
}
interface WriteCase {
  readonly tensors: readonly ({ name: string } & TensorSpec)[];
  readonly metadata: Record<string, string> | null;
  readonly header: string;
}
const readTable = (name: string): unknown => JSON.parse(Buffer.from(fixture(name)).toString("utf8"));
const readCases = readTable("format-cases.json") as ReadCase[];
const writeCases = readTable("encode-cases.json") as WriteCase[];

function parse(file: Uint8Array, mode: ReadMode): Header {
  const end = 8 + readHeaderLength(file.subarray(0, 8), file.length);
  const [json, dataLength] = [file.subarray(8, end), file.length - end];
  const canonical = mode === "lenient" ? undefined : readCanonicalHeader(json, dataLength);
  return canonical ?? parseHeader(json, dataLength, { mode });
}

function verdict(file: Uint8Array, mode: ReadMode): Header | SafetensorsError {
  try {
    return parse(file, mode);
  } catch (error) {
    assert.ok(error instanceof SafetensorsError, `not one of our errors: ${String(error)}`);
    return error;
  }
}

describe("the reference's verdicts", () => {
  it("is a table of some size", () => {
    assert.ok(readCases.length >= 150 && writeCases.length >= 60);
  });

  for (const { name, base64, accepted, error, tensors, metadata } of readCases) {
    it(`compat mode ${accepted ? "accepts" : "refuses"}: ${name}`, () => {
      const file = new Uint8Array(Buffer.from(base64, "base64"));
      const result = verdict(file, "compat");
      if (!accepted) return assert.ok(result instanceof SafetensorsError, `the reference says: ${error}`);
      if (result instanceof SafetensorsError) throw result;
      const found = [...result].map(({ name, dtype, shape, dataOffsets }) => ({
        name,
        dtype,
        shape,
        data_offsets: dataOffsets,
      }));
      // Dimensions above 2^53 stand in the table as text; compat mode gives the nearest double.
      assert.deepEqual(
        found,
        tensors.map((tensor) => ({ ...tensor, shape: tensor.shape.map(Number) })),
      );
      assert.deepEqual(Object.fromEntries(result.metadata), { ...metadata });
    });
  }

  it("are never loosened by strict mode, and tightened only where documented", () => {
    const tightened = new Set<string>();
    for (const { name, base64, accepted } of readCases) {
      const result = verdict(new Uint8Array(Buffer.from(base64, "base64")), "strict");
      if (!accepted) assert.ok(result instanceof SafetensorsError, `${name} must be refused`);
      else if (result instanceof SafetensorsError) tightened.add(result.code);
    }
    assert.deepEqual([...tightened].sort(), [
      "DUPLICATE_KEY",
      "DUPLICATE_NAME",
      "INVALID_HEADER",
      "UNSAFE_INTEGER",
    ]);
  });

  it("are explained by lenient mode, which finds a problem in every refused header and none in a good one", () => {
    for (const { name, base64 } of readCases) {
      const file = new Uint8Array(Buffer.from(base64, "base64"));
      const strict = verdict(file, "strict");
      let problems: readonly SafetensorsError[];
      try {
        problems = parse(file, "lenient").problems;
      } catch (error) {
        // Only the eight bytes of length can stop it.
        assert.ok(
          error instanceof SafetensorsError && error.code.includes("HEADER_"),
          `${name}: ${String(error)}`,
        );
        continue;
      }
      if (strict instanceof SafetensorsError) assert.ok(problems.length > 0, name);
      else assert.deepEqual(problems, [], name);
    }
  });
});

describe("the reference's headers", () => {
  for (const [index, { tensors, metadata, header }] of writeCases.entries()) {
    it(`case ${index} is written byte for byte: ${JSON.stringify(tensors).slice(0, 80)}`, () => {
      const encoded = encodeHeader(
        tensors.map(({ name, dtype, shape }) => [name, { dtype, shape }]),
        metadata ? { metadata } : {},
      );
      assert.equal(Buffer.from(encoded.bytes).toString("base64"), header);
    });
  }
});
