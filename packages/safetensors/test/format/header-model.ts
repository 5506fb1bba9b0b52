import { DTYPES, isDtype } from "../../src/dtype/dtype.ts";

/** What a slow and simple reader makes of a header: the tensors in the order of their data, or the reason to refuse it. */
export type Verdict = { readonly refused: string } | { readonly tensors: readonly ModelTensor[] };

export interface ModelTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly dataOffsets: readonly [number, number];
}

/** JSON as it is written: members in order and with repetitions, numbers as text. */
type Json = null | boolean | string | NumberText | Json[] | Members;
class NumberText {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}
class Members {
  readonly list: [string, Json][] = [];
}

const DEPTH = 127;

/**
 * Splits JSON text that `JSON.parse` has accepted, so that it need not check any syntax. It keeps what JSON.parse hides.
 */
function split(text: string): Json {
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
  let at = 0;
  const value = (depth: number): Json => {
    const token = tokens[at++]!;
    if ((token === "{" || token === "[") && depth > DEPTH) throw new Error("nested too deep");
    if (token === "[") {
      const items: Json[] = [];
      while (tokens[at] !== "]") {
        if (tokens[at] === ",") at++;
        items.push(value(depth + 1));
      }
      at++;
      return items;
    }
    if (token === "{") {
      const members = new Members();
      while (tokens[at] !== "}") {
        if (tokens[at] === ",") at++;
        const key = text16(tokens[at]!);
        at += 2;
        members.list.push([key, value(depth + 1)]);
      }
      at++;
      return members;
    }
    if (token.startsWith('"')) return text16(token);
    if (token === "true" || token === "false") return token === "true";
    if (token === "null") return null;
    if (!Number.isFinite(Number(token))) throw new Error("number out of range");
    return new NumberText(token);
  };
  return value(1);
}

function text16(token: string): string {
  const text = JSON.parse(token) as string;
  if (!text.isWellFormed()) throw new Error("lone surrogate");
  return text;
}

function integer(value: Json | undefined): bigint {
  if (!(value instanceof NumberText && /^(0|[1-9]\d*)$/.test(value.text))) throw new Error("no whole number");
  const number = BigInt(value.text);
  if (number >= 2n ** 64n) throw new Error("beyond 64 bits");
  return number;
}

interface Entry {
  readonly dtype: string;
  readonly shape: bigint[];
  readonly offsets: readonly [bigint, bigint];
  /** Whether it is written in one of the forms that only the reference takes. */
  readonly odd: boolean;
}

function entryOf(value: Json): Entry {
  let dtype: Json | undefined;
  let shape: Json | undefined;
  let offsets: Json | undefined;
  if (value instanceof Members) {
    for (const field of ["dtype", "shape", "data_offsets"]) {
      if (value.list.filter(([key]) => key === field).length !== 1) throw new Error(`not one ${field}`);
    }
    const fields = new Map(value.list);
    [dtype, shape, offsets] = [fields.get("dtype"), fields.get("shape"), fields.get("data_offsets")];
  } else if (Array.isArray(value) && value.length === 3) {
    [dtype, shape, offsets] = value;
  } else {
    throw new Error("no entry");
  }
  let odd = Array.isArray(value);
  if (dtype instanceof Members && dtype.list.length === 1 && dtype.list[0]![1] === null) {
    dtype = dtype.list[0]![0];
    odd = true;
  }
  if (typeof dtype !== "string" || !isDtype(dtype)) throw new Error("no dtype");
  if (!Array.isArray(shape)) throw new Error("no shape");
  if (!Array.isArray(offsets) || offsets.length !== 2) throw new Error("no offsets");
  return { dtype, shape: shape.map(integer), offsets: [integer(offsets[0]), integer(offsets[1])], odd };
}

/** Reads a header by the rules of the reference, in strict mode with the rules that the library adds. */
export function modelVerdict(json: Uint8Array, dataLength: number, mode: "compat" | "strict"): Verdict {
  try {
    return { tensors: read(json, dataLength, mode === "strict") };
  } catch (error) {
    return { refused: (error as Error).message };
  }
}

function read(json: Uint8Array, dataLength: number, strict: boolean): ModelTensor[] {
  const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(json);
  JSON.parse(text);
  const header = split(text);
  if (!(header instanceof Members)) throw new Error("no object");

  const entries = new Map<string, Entry>();
  let metadataSeen = false;
  for (const [name, value] of header.list) {
    if (name === "__metadata__") {
      if (metadataSeen) throw new Error("two metadata");
      metadataSeen = true;
      checkMetadata(value, strict);
      continue;
    }
    const entry = entryOf(value);
    if (strict && entry.odd) throw new Error("odd form");
    if (strict && entries.has(name)) throw new Error("duplicate name");
    if (strict && entry.shape.some((size) => size > BigInt(Number.MAX_SAFE_INTEGER)))
      throw new Error("dimension");
    entries.delete(name);
    entries.set(name, entry);
  }

  const sorted = [...entries].sort(
    ([, { offsets: a }], [, { offsets: b }]) => Number(a[0] - b[0]) || Number(a[1] - b[1]),
  );
  let covered = 0n;
  for (const [, { dtype, shape, offsets }] of sorted) {
    if (offsets[0] !== covered || offsets[1] < covered) throw new Error("offsets");
    let elements = 1n;
    for (const size of shape) {
      elements *= size;
      if (elements >= 2n ** 64n) throw new Error("overflow");
    }
    const bits = elements * BigInt(DTYPES[dtype as keyof typeof DTYPES].bits);
    if (bits >= 2n ** 64n) throw new Error("overflow");
    if (bits % 8n !== 0n) throw new Error("misaligned");
    if (bits / 8n !== offsets[1] - offsets[0]) throw new Error("size");
    covered = offsets[1];
  }
  if (covered !== BigInt(dataLength)) throw new Error("not covered");
  return sorted.map(([name, { dtype, shape, offsets }]) => ({
    name,
    dtype,
    shape: shape.map(Number),
    dataOffsets: [Number(offsets[0]), Number(offsets[1])],
  }));
}

function checkMetadata(value: Json, strict: boolean): void {
  if (value === null) return;
  if (!(value instanceof Members)) throw new Error("no metadata object");
  if (value.list.some(([, text]) => typeof text !== "string")) throw new Error("metadata is no text");
  if (strict && new Set(value.list.map(([key]) => key)).size < value.list.length)
    throw new Error("duplicate key");
}
