import type { TensorHandle } from "../../checkpoint/tensor.ts";
import { JsonCursor } from "../../format/json-cursor.ts";
import { isJsonError } from "../../format/json-error.ts";
import { MAX_STATED_BYTES } from "../../limits.ts";
import { type Fields, fieldsOf } from "../config.ts";
import type { Finder } from "../scheme.ts";

/** JSON that stands in a tensor of bytes or in the header: its value, or what is wrong with it. */
export type Stated = { readonly value: unknown } | { readonly wrong: string };

/**
 * Reads a JSON text of a checkpoint. Whatever stands in it, the result is plain data: a key like `__proto__` is a field
 * as others are (see `fieldsOf`), and an object that has a key twice is refused, if it is the outermost. The caller bounds
 * the size; nesting is bounded here.
 */
export function statedJson(bytes: Uint8Array): Stated {
  try {
    const cursor = new JsonCursor(bytes);
    const isObject = cursor.peek() === 0x7b;
    if (isObject) checkKeys(cursor);
    else cursor.skipValue(0);
    if (cursor.peek() !== -1) cursor.malformed("nothing but white space after the value");
    cursor.checkUtf8();
    return { value: JSON.parse(new TextDecoder().decode(bytes)) };
  } catch (error) {
    if (isJsonError(error)) return { wrong: `has no JSON that can be used: ${error.reason}` };
    throw error;
  }
}

/** The fields of the JSON object in a tensor of bytes; reports what is no such object. */
export async function statedFields(finder: Finder, tensor: TensorHandle): Promise<Fields | undefined> {
  if (tensor.dtype !== "U8" || tensor.byteLength > MAX_STATED_BYTES) {
    finder.problem(
      tensor.name,
      `is ${tensor.dtype} [${tensor.shape}], expected at most ${MAX_STATED_BYTES} bytes of JSON; the layer is left as it is`,
    );
    return undefined;
  }
  const stated = statedJson(await finder.small(tensor));
  const fields = "value" in stated ? fieldsOf(stated.value) : undefined;
  if (!fields) {
    const wrong = "wrong" in stated ? stated.wrong : "has JSON that is no object";
    finder.problem(tensor.name, `${wrong}; the layer is left as it is`);
  }
  return fields;
}

/** A list of whole numbers of at least 0 whose product is exact, as shapes are; nothing for anything else. */
export function shapeIn(value: unknown): readonly number[] | undefined {
  if (!Array.isArray(value) || value.length > 16) return undefined;
  if (!value.every((size) => Number.isSafeInteger(size) && size >= 0)) return undefined;
  const shape = value as readonly number[];
  return Number.isSafeInteger(shape.reduce((product, size) => product * size, 1)) ? shape : undefined;
}

function checkKeys(cursor: JsonCursor): void {
  const seen = new Set<string>();
  cursor.beginObject("an object");
  for (let first = true; cursor.nextKey(first); first = false) {
    const key = cursor.text();
    if (seen.has(key)) cursor.malformed("no key twice");
    seen.add(key);
    cursor.skipValue(1);
  }
}
