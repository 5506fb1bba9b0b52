import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { openStore } from "../../src/checkpoint/open-store.ts";
import { fromBytes } from "../../src/source/memory.ts";
import type { ByteSource } from "../../src/source/source.ts";
import type { FileStore } from "../../src/source/store.ts";
import { concat, fileAround } from "../support.ts";

const INDEX = "model.safetensors.index.json";

describe("an index of 60 MB with 500,000 names in 163 files", () => {
  const TENSORS = 500_000;
  const FILES = 163;
  const fileOf = (i: number): string => {
    const number = Math.floor((i * FILES) / TENSORS) + 1;
    return `model-${String(number).padStart(5, "0")}-of-00163.safetensors`;
  };
  const nameOf = (i: number): string =>
    `model.language_model.layers.${i >> 13}.mlp.experts.${(i >> 5) & 255}.down_proj.weight_scale_inv.${i}`;

  /** Files whose tensors are empty, made when they are asked for. */
  class LargeStore implements FileStore {
    readonly name = "large";
    readonly asked: string[] = [];
    readonly #index = concat(
      [
        '{\n  "metadata": {\n    "total_size": 1\n  },\n  "weight_map": {\n',
        ...this.#lines(),
        "  }\n}\n",
      ].map((line) => new TextEncoder().encode(line)),
    );

    get indexSize(): number {
      return this.#index.length;
    }

    *#lines(): Iterable<string> {
      for (let at = 0; at < TENSORS; at += 1000) {
        const lines = Array.from({ length: 1000 }, (_, i) => `    "${nameOf(at + i)}": "${fileOf(at + i)}"`);
        yield lines.join(",\n") + (at + 1000 < TENSORS ? ",\n" : "\n");
      }
    }

    async open(file: string): Promise<ByteSource> {
      this.asked.push(file);
      if (file === INDEX) return fromBytes(this.#index, file);
      const number = Number(file.slice(6, 11)) - 1;
      const names: string[] = [];
      for (let i = Math.ceil((number * TENSORS) / FILES); i < TENSORS && fileOf(i) === file; i++)
        names.push(nameOf(i));
      const entries = names.map((name) => `"${name}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`);
      return fromBytes(fileAround(`{${entries.join()}}`), file);
    }
  }

  it("opens one file for one tensor", async () => {
    const store = new LargeStore();
    assert.ok(store.indexSize > 60e6, `${store.indexSize} bytes`);
    const before = process.memoryUsage();
    const name = nameOf(345_678);
    const checkpoint = await openStore(store, { file: INDEX, names: name });
    const after = process.memoryUsage();
    assert.deepEqual([...checkpoint.keys()], [name]);
    assert.deepEqual(checkpoint.get(name).shape, [0]);
    assert.deepEqual(store.asked, [INDEX, fileOf(345_678)]);
    const grown = after.heapUsed + after.external - before.heapUsed - before.external;
    assert.ok(grown < 600e6, `${grown} bytes`);
  });
});
