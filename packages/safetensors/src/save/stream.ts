import { encodeHeader } from "../format/encode.ts";
import { entriesOf, fileChunks, type SaveInputs, type SaveOptions } from "./save.ts";

/** A safetensors file that is written while it is read. */
export interface SaveStream {
  readonly stream: ReadableStream<Uint8Array<ArrayBuffer>>;
  /** Bytes of the file: the length of the content, for those who ask for it beforehand. */
  readonly byteLength: number;
}

/**
 * A safetensors file as a stream, for the body of a request or a `Response`, or for `pipeTo`. No input is touched before the
 * stream is read, and then one piece of at most 1 MiB at a time, when the reader wants it. Cancelling the stream stops the
 * inputs; an error of theirs is the error of the stream. The bytes are those that `save` writes.
 *
 * The `fetch` of Node 20 to 24 keeps what it has sent until the request is over, whatever the stream. Where memory matters
 * there, send `Readable.fromWeb(stream)` with node:http.
 *
 * @throws what `encodeHeader` throws, at once; what `save` throws, out of the stream
 */
export function saveStream(inputs: SaveInputs, options: SaveOptions = {}): SaveStream {
  const entries = entriesOf(inputs);
  const header = encodeHeader(entries, options);
  const cancelled = new AbortController();
  const { signal: callers } = options;
  const signal = callers ? AbortSignal.any([callers, cancelled.signal]) : cancelled.signal;
  const chunks = fileChunks(header, new Map(entries), { ...options, signal });
  const stream = new ReadableStream<Uint8Array<ArrayBuffer>>(
    {
      async pull(controller) {
        const { done, value } = await chunks.next();
        if (done) controller.close();
        // A copy, as the piece belongs to the reader from now on.
        else controller.enqueue(new Uint8Array(value));
      },
      async cancel(reason) {
        cancelled.abort(reason);
        await chunks.return();
      },
    },
    { highWaterMark: 0 },
  );
  return { stream, byteLength: header.bytes.length + header.dataLength };
}
