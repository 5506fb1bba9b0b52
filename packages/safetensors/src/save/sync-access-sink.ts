import { SafetensorsError } from "../errors.ts";
import type { Sink } from "./sink.ts";

/** What is needed of a FileSystemSyncAccessHandle, which only workers have. */
export interface SyncAccessHandle {
  write(bytes: Uint8Array, options: { at: number }): number;
  truncate(size: number): void;
  flush(): void;
  close(): void;
}

/**
 * A sink that writes a file of the origin's own (OPFS) in a worker, by the handle that `createSyncAccessHandle()` gives:
 * several times as fast as a stream. The handle is closed in the end.
 *
 * The file is written in place: what it held is gone with the first byte, and is not restored. If the saving fails, the
 * file is empty; if the worker is ended, it is shorter than its header says, which no reader accepts. To replace a
 * file as a whole, write another one and `move` it over the old one, or use `writableSink(await file.createWritable())`.
 */
export function syncAccessSink(handle: SyncAccessHandle): Sink {
  let length = 0;
  return {
    write(bytes) {
      // Or the rest of a longer file would lie behind a new header.
      if (length === 0) handle.truncate(0);
      for (let done = 0; done < bytes.length; ) {
        const written = handle.write(bytes.subarray(done), { at: length });
        if (!(written > 0)) throw new SafetensorsError("IO", `the file took no more after ${length} bytes`);
        done += written;
        length += written;
      }
    },
    async commit() {
      handle.flush();
      handle.close();
    },
    async abort() {
      const empty = (): void => handle.truncate(0);
      // A file that was not touched stays. Each step is tried, whatever became of the one before.
      for (const step of [...(length > 0 ? [empty] : []), () => handle.flush(), () => handle.close()]) {
        try {
          step();
        } catch {
          // The browser closes the handle with the worker.
        }
      }
    },
  };
}
