import { orAborted } from "./or-aborted.ts";
import type { Sink } from "./sink.ts";

/**
 * A sink that writes into a stream of the web: a file that a person chose (`showSaveFilePicker`) or one of the origin's own
 * (OPFS), both by `createWritable()`, which changes the file only when all is written; a TransformStream; a file of Deno.
 * The stream is locked from now on, and closed by `commit`. It is given a piece when it wants one, and its errors
 * reach the caller as they are. `abort` aborts it with the reason.
 */
export function writableSink(stream: WritableStream<Uint8Array>): Sink {
  const writer = stream.getWriter();
  // An error comes out of the next call; without these, runtimes would report it as one that nobody handles.
  writer.closed.catch(() => {});
  writer.ready.catch(() => {});
  let signal: AbortSignal | undefined;
  return {
    begin(_, options) {
      signal = options.signal;
    },
    async write(bytes) {
      await orAborted(writer.ready, signal);
      // A copy, as the stream keeps it until it has got rid of it, or gives it away.
      writer.write(new Uint8Array(bytes)).catch(() => {});
    },
    async commit() {
      await writer.close();
    },
    async abort(reason) {
      const aborted = writer.abort(reason).catch(() => {});
      // The stream ends the write under way first, and that may be what the caller has given up waiting for.
      if (!signal?.aborted) await aborted;
    },
  };
}
