import type { Sink } from "../../save/sink.ts";

/** Small pieces are gathered up to this size before the sink gets them, as each write to a file is a call of the system. */
const BUFFER_BYTES = 64 << 10;

/** The bytes on their way to a sink, counted, with small pieces gathered into larger ones. */
export class Output {
  readonly #sink: Sink;
  readonly #buffer = new Uint8Array(BUFFER_BYTES);
  #used = 0;
  #offset = 0;

  constructor(sink: Sink) {
    this.#sink = sink;
  }

  /** Number of bytes written so far. */
  get offset(): number {
    return this.#offset;
  }

  /** Takes bytes; they belong to the caller again when this returns nothing or its promise is fulfilled. */
  write(bytes: Uint8Array): void | Promise<void> {
    this.#offset += bytes.length;
    if (bytes.length > BUFFER_BYTES - this.#used) return this.#flushThen(bytes);
    this.#buffer.set(bytes, this.#used);
    this.#used += bytes.length;
  }

  async flush(): Promise<void> {
    await this.#flushThen(new Uint8Array(0));
  }

  async #flushThen(bytes: Uint8Array): Promise<void> {
    if (this.#used > 0) {
      await this.#sink.write(this.#buffer.subarray(0, this.#used));
      this.#used = 0;
    }
    if (bytes.length >= BUFFER_BYTES) {
      await this.#sink.write(bytes);
    } else {
      this.#buffer.set(bytes);
      this.#used = bytes.length;
    }
  }
}
