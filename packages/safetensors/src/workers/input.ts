import { quote, SafetensorsError } from "../errors.ts";
import type { UrlOptions } from "../source/http.ts";
import type { SentInput } from "./messages.ts";
import { shared } from "./shared-arrays.ts";

/** What `openPool` takes: a path, an address, a Blob or File, or bytes. */
export type PoolInput = string | URL | Blob | ArrayBufferLike | ArrayBufferView;

/** The input in a form that can be sent to workers. A string that does not begin with http: or https: is a path. */
export function toSend(
  input: PoolInput,
  { headers, retry }: Pick<UrlOptions, "headers" | "retry">,
): SentInput {
  if (input instanceof URL || typeof input === "string") {
    const text = String(input);
    const isPath = input instanceof URL ? input.protocol === "file:" : !/^https?:/i.test(text);
    return isPath ? { kind: "path", path: text } : { kind: "url", url: text, headers, retry };
  }
  if (input instanceof Blob) return { kind: "blob", blob: input };
  if (ArrayBuffer.isView(input) || "byteLength" in Object(input))
    return { kind: "bytes", bytes: shared(bytesOf(input)) };
  const text = `${quote(String(input))} cannot be opened: a pool takes a path, an address, a Blob or bytes`;
  throw new SafetensorsError("UNSUPPORTED", text);
}

function bytesOf(input: ArrayBufferLike | ArrayBufferView): Uint8Array {
  return ArrayBuffer.isView(input)
    ? new Uint8Array(input.buffer, input.byteOffset, input.byteLength)
    : new Uint8Array(input);
}
