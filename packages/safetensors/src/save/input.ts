import { quote, SafetensorsError } from "../errors.ts";
import type { ReadOptions } from "../source/source.ts";
import { orAborted, untilAborted } from "./or-aborted.ts";

/** Bytes moved at once. A buffer of this size stays in the processor's cache, which fresh memory does not. */
export const BUFFER_BYTES: number = 1 << 20;

/**
 * Bytes read of a Blob at once. Chromium needs milliseconds for each read, and reads 256 MiB four times as fast like this as
 * by single mebibytes; the stream of a Blob would be as fast, but comes as one piece in Node and Deno.
 */
const BLOB_BYTES = 16 << 20;

/** Bytes in memory. */
export type Bytes = ArrayBufferView | ArrayBufferLike;

/**
 * Where the bytes of a tensor come from: memory; a Blob or File, which is read in slices of 16 MiB; or pieces of any sizes out of
 * an array, a generator, an async generator, a ReadableStream, a Readable of Node, the body of a Response. Each piece
 * is done with before the next one is asked for, so that it may lie in the same memory.
 */
export type InputData = Bytes | Blob | Iterable<Bytes> | AsyncIterable<Bytes> | ReadableStream<Bytes>;

/** A function that gives the data when its turn comes, so that not all tensors must be there at once. */
export type LazyData = () => InputData | PromiseLike<InputData>;

/**
 * The bytes of a tensor in pieces of at most 1 MiB, so that progress and cancellation have steps and no sink gets
 * gigabytes at once. Who stops early closes the iterator or cancels the stream, and so does the signal, without waiting
 * for a piece that is due.
 *
 * @param name of the tensor, for messages.
 * @throws `INVALID_TENSOR` for data or a piece of it that is no bytes, `IO` for a Blob that can no longer be read; what the
 *   function, the iterator or the stream throws, as it is
 */
export function chunksOfData(
  name: string,
  data: InputData | LazyData,
  { signal }: ReadOptions,
): Iterable<Uint8Array> | AsyncIterable<Uint8Array> {
  if (typeof data === "function") return chunksOfLazyData(name, data, { signal });
  const bytes = bytesOf(data);
  if (bytes) return pieces(bytes);
  if (data instanceof Blob) return piecesOfBlob(name, data);
  return piecesOfAll(name, data, signal);
}

async function* chunksOfLazyData(
  name: string,
  data: LazyData,
  { signal }: ReadOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  yield* chunksOfData(name, await orAborted(data(), signal), { signal });
}

async function* piecesOfAll(
  name: string,
  data: unknown,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of iterableOf(name, data, signal)) {
    const bytes = bytesOf(chunk);
    if (!bytes) throw invalid(name, "has a piece that is no typed array and no buffer");
    yield* pieces(bytes);
  }
}

/** The bytes of a value; nothing if it is no memory. */
function bytesOf(value: unknown): Uint8Array | undefined {
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  // A web page may have no SharedArrayBuffer at all, so that `instanceof` would fail there.
  const isBuffer = /^\[object (Shared)?ArrayBuffer]$/.test(Object.prototype.toString.call(value));
  return isBuffer ? new Uint8Array(value as ArrayBufferLike) : undefined;
}

function* pieces(bytes: Uint8Array): Generator<Uint8Array, void, undefined> {
  for (let at = 0; at < bytes.length; at += BUFFER_BYTES) yield bytes.subarray(at, at + BUFFER_BYTES);
}

async function* piecesOfBlob(name: string, blob: Blob): AsyncGenerator<Uint8Array, void, undefined> {
  for (let at = 0; at < blob.size; at += BLOB_BYTES) {
    let bytes: Uint8Array;
    try {
      bytes = new Uint8Array(await blob.slice(at, at + BLOB_BYTES).arrayBuffer());
    } catch (cause) {
      // A File that was changed or deleted since it was picked fails here.
      const text = `the Blob of tensor ${quote(name)} can no longer be read`;
      throw new SafetensorsError("IO", text, { tensor: name, at, cause });
    }
    yield* pieces(bytes);
  }
}

function iterableOf(
  name: string,
  data: unknown,
  signal: AbortSignal | undefined,
): Iterable<unknown> | AsyncIterable<unknown> {
  if (typeof data === "object" && data !== null) {
    if ("getReader" in data) return untilAborted(readerOf(data as ReadableStream, signal), signal);
    if (Symbol.asyncIterator in data)
      return untilAborted((data as AsyncIterable<unknown>)[Symbol.asyncIterator](), signal);
    if (Symbol.iterator in data) return data as Iterable<unknown>;
  }
  throw invalid(name, "is neither bytes, a Blob or a stream nor something that gives bytes in pieces");
}

/** Not every browser can iterate over a stream; nor would iterating tell the stream why it is cancelled. */
function readerOf(stream: ReadableStream, signal: AbortSignal | undefined): AsyncIterator<unknown> {
  const reader = stream.getReader();
  return {
    next: async () => {
      const { done, value } = await reader.read();
      return done ? { done, value: undefined } : { done, value };
    },
    return: async () => {
      await reader.cancel(signal?.reason);
      return { done: true, value: undefined };
    },
  };
}

function invalid(name: string, text: string): SafetensorsError {
  return new SafetensorsError("INVALID_TENSOR", `the data of tensor ${quote(name)} ${text}`, {
    tensor: name,
  });
}
