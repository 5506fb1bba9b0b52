import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { Worker } from "node:worker_threads";
import { open } from "../../src/checkpoint/open.ts";
import { openPool } from "../../src/workers/index.ts";
import { raises } from "../support.ts";
import { assertSame, everyDtype } from "./checkpoints.ts";

const web = globalThis as { Worker?: unknown; crossOriginIsolated?: boolean };
const started: { url: string; type: string | undefined }[] = [];

/** A worker of the web, made from a worker thread. */
class WebWorker {
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onmessageerror: (() => void) | null = null;
  onerror: ((event: { message?: string; preventDefault(): void }) => void) | null = null;
  readonly #thread: Worker;

  constructor(url: URL, options?: { type?: string }) {
    started.push({ url: url.href, type: options?.type });
    const isOurs = url.pathname.endsWith("/src/workers/worker.js");
    this.#thread = new Worker(isOurs ? new URL("./web-program.js", import.meta.url) : url);
    this.#thread.on("message", (data: unknown) => this.onmessage?.({ data }));
    this.#thread.on("error", () => this.onerror?.({ preventDefault: () => {} }));
  }

  postMessage(message: unknown): void {
    this.#thread.postMessage(message);
  }

  terminate(): void {
    void this.#thread.terminate();
  }
}

describe("a pool in a browser", () => {
  const { getBuiltinModule } = process;
  Object.assign(process, { getBuiltinModule: undefined });
  web.Worker = WebWorker;
  after(() => Object.assign(process, { getBuiltinModule }));

  const file = everyDtype([4, 2]);

  it("runs in workers of modules, which lie where bundlers look for them", async () => {
    await using pool = await openPool(new Blob([file]), { workers: 2 });
    assert.equal(await assertSame(pool, await open(file)), 24);
    const url = new URL("../../src/workers/worker.js", import.meta.url).href;
    assert.deepEqual(started, [
      { url, type: "module" },
      { url, type: "module" },
    ]);
  });

  it("has no files", async () => {
    await assert.rejects(openPool("model.safetensors"), raises("UNSUPPORTED", /"model\.safetensors"/));
  });

  it("says when the program is not there", async () => {
    const program = new URL("./missing.js", import.meta.url);
    await assert.rejects(openPool(file, { program }), raises("IO", /could not be loaded/));
  });

  it("needs a page that may share memory, and says what that takes", async () => {
    web.crossOriginIsolated = false;
    try {
      const headers =
        /"Cross-Origin-Opener-Policy: same-origin".*"Cross-Origin-Embedder-Policy: require-corp"/;
      await assert.rejects(openPool(file), raises("UNSUPPORTED", headers, { kind: "shared-memory" }));
    } finally {
      delete web.crossOriginIsolated;
    }
    web.Worker = undefined;
    await assert.rejects(openPool(file), raises("UNSUPPORTED", /no workers/, { kind: "workers" }));
  });
});
