import { ObjectNode, PyBytes } from "./pickle/containers.ts";
import { GlobalRef, type PickleValue } from "./pickle/values.ts";

/** Bytes as Python 3 writes them: as such, or, in protocols 0 to 2, as the call `_codecs.encode(text, "latin1")`. */
export function bytesOf(value: PickleValue | undefined): Uint8Array | undefined {
  if (value instanceof PyBytes) return value.bytes;
  if (!(value instanceof ObjectNode && value.callable instanceof GlobalRef)) return undefined;
  const [text, encoding] = value.args.items;
  const isLatin1 = encoding === "latin1" || encoding === "latin-1";
  if (value.callable.path !== "_codecs.encode" || !isLatin1 || typeof text !== "string") return undefined;
  const bytes = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code > 0xff) return undefined;
    bytes[index] = code;
  }
  return bytes;
}

/** Text, or the bytes that Python 2 wrote for it. */
export function textOf(value: PickleValue | undefined): string | undefined {
  if (typeof value === "string") return value;
  return value instanceof PyBytes && value.bytes.length < 256
    ? String.fromCharCode(...value.bytes)
    : undefined;
}
