import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import type { TensorHandle } from "../src/checkpoint/tensor.ts";
import { type ErrorCode, type ErrorDetails, SafetensorsError } from "../src/errors.ts";
import type { StridedView } from "../src/view/view.ts";

/** For `assert.throws` and `assert.rejects`: one of our errors, with this code, a message that matches and these details. */
export function raises(
  code: ErrorCode,
  message: RegExp = /./,
  details: Partial<ErrorDetails> = {},
): (error: unknown) => true {
  return (error) => {
    assert.ok(error instanceof SafetensorsError, `not one of our errors: ${String(error)}`);
    assert.equal(error.code, code, error.message);
    assert.ok(error.message.startsWith(`${code}: `), error.message);
    assert.match(error.message, message);
    for (const [key, value] of Object.entries(details)) {
      assert.deepEqual(error.details[key as keyof ErrorDetails], value, `details.${key} of ${error.message}`);
    }
    return true;
  };
}

/** What is written of a tensor in a file made by hand. */
export interface HandMade {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

/** A safetensors file around this text of a header. */
export function fileAround(header: string, data: Uint8Array = new Uint8Array(0)): Uint8Array<ArrayBuffer> {
  const json = new TextEncoder().encode(header);
  const file = new Uint8Array(8 + json.length + data.length);
  new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true);
  file.set(json, 8);
  file.set(data, 8 + json.length);
  return file;
}

/** A safetensors file made with nothing but JSON.stringify, its tensors in the given order. */
export function handMade(
  tensors: Readonly<Record<string, HandMade>>,
  metadata?: Readonly<Record<string, string>>,
): Uint8Array<ArrayBuffer> {
  let end = 0;
  const entries = Object.entries(tensors).map(([name, { dtype, shape, data }]) => {
    const begin = end;
    end += data.length;
    return `${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [begin, end] })}`;
  });
  if (metadata) entries.push(`"__metadata__":${JSON.stringify(metadata)}`);
  return fileAround(`{${entries.join()}}`, concat(Object.values(tensors).map(({ data }) => data)));
}

export function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Numbers from 0 to 2^32 - 1 that look random and are the same on every run (Steele and Vigna's splitmix, 32 bits). */
export function numbers(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let word = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    word = Math.imul(word ^ (word >>> 15), 0x735a2d97);
    return (word ^ (word >>> 15)) >>> 0;
  };
}

/** Bytes that look random and are the same on every run. */
export function noise(length: number, seed = 1): Uint8Array<ArrayBuffer> {
  const next = numbers(seed);
  const words = new Uint32Array(Math.ceil(length / 4));
  for (let i = 0; i < words.length; i++) words[i] = next();
  return new Uint8Array(words.buffer, 0, length);
}

/** A folder of its own for the tests of one file, removed after them. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "safetensors-test-"));
  after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** The view of a tensor that lies in one piece. */
export function stridedViewOf({ view }: TensorHandle): StridedView {
  assert.ok(!("pieces" in view), "the tensor lies in pieces");
  return view;
}
