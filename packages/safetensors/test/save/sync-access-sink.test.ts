import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type SaveInput, save } from "../../src/save/save.ts";
import { memorySink } from "../../src/save/sink.ts";
import { type SyncAccessHandle, syncAccessSink } from "../../src/save/sync-access-sink.ts";
import { noise, raises } from "../support.ts";

/** A file as the specification has it: https://fs.spec.whatwg.org/#api-filesystemsyncaccesshandle. */
class FakeHandle implements SyncAccessHandle {
  content: Uint8Array;
  calls: string[] = [];
  readonly #quota: number;
  readonly #most: number;

  constructor(content: Uint8Array, quota = 1 << 20, most = 1 << 20) {
    this.content = content;
    this.#quota = quota;
    this.#most = most;
  }

  write(bytes: Uint8Array, { at }: { at: number }): number {
    this.#called("write");
    const taken = bytes.subarray(0, this.#most);
    if (at + taken.length > this.#quota) throw new DOMException("no room", "QuotaExceededError");
    const larger = new Uint8Array(Math.max(this.content.length, at + taken.length));
    larger.set(this.content);
    larger.set(taken, at);
    this.content = larger;
    return taken.length;
  }

  truncate(size: number): void {
    this.#called("truncate");
    const other = new Uint8Array(size);
    other.set(this.content.subarray(0, size));
    this.content = other;
  }

  flush(): void {
    this.#called("flush");
  }

  close(): void {
    this.#called("close");
  }

  #called(name: string): void {
    if (this.calls.includes("close")) throw new DOMException("it is closed", "InvalidStateError");
    if (this.calls.at(-1) !== name) this.calls.push(name);
  }
}

const tensor: SaveInput = { dtype: "U8", shape: [1000], data: noise(1000) };

describe("syncAccessSink", () => {
  it("writes the file in place, whatever was in it, and flushes and closes it", async () => {
    const expected = memorySink();
    await save(expected, { tensor });
    for (const before of [0, 10, 5000]) {
      for (const most of [7, 1 << 20]) {
        const handle = new FakeHandle(noise(before), 1 << 20, most);
        await save(syncAccessSink(handle), { tensor });
        assert.deepEqual(handle.content, expected.bytes());
        assert.deepEqual(handle.calls, ["truncate", "write", "flush", "close"]);
      }
    }
  });

  it("leaves an empty file when the saving fails", async () => {
    const handle = new FakeHandle(noise(5000), 500);
    await assert.rejects(save(syncAccessSink(handle), { tensor }), { name: "QuotaExceededError" });
    assert.deepEqual(handle.content, new Uint8Array(0));
    assert.deepEqual(handle.calls.slice(-3), ["truncate", "flush", "close"]);
  });

  it("closes a file also if that can no longer be flushed", async () => {
    const handle = new FakeHandle(noise(50));
    handle.flush = () => {
      throw new DOMException("the disk is gone", "UnknownError");
    };
    await assert.rejects(save(syncAccessSink(handle), { tensor }), { name: "UnknownError" });
    assert.equal(handle.calls.at(-1), "close");
  });

  it("leaves a file alone that it has not begun to write", async () => {
    const handle = new FakeHandle(noise(50));
    await assert.rejects(save(syncAccessSink(handle), { __metadata__: tensor }), raises("INVALID_NAME"));
    assert.deepEqual([handle.content, handle.calls], [noise(50), ["flush", "close"]]);
  });

  it("does not wait for ever for a file that takes nothing, nor throws from an abort", async () => {
    const stuck = new FakeHandle(noise(50), 1 << 20, 0);
    await assert.rejects(save(syncAccessSink(stuck), { tensor }), raises("IO", /no more after 0 bytes/));
    const closed = new FakeHandle(noise(50));
    closed.close();
    await assert.rejects(save(syncAccessSink(closed), { tensor }), { name: "InvalidStateError" });
  });
});
