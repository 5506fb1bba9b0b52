import assert from "node:assert/strict";
import {
  appendFileSync,
  chmodSync,
  closeSync,
  copyFileSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { openSafetensors } from "../../src/checkpoint/safetensors.ts";
import { SafetensorsError } from "../../src/errors.ts";
import { convertPath } from "../../src/node/convert/convert.ts";
import { type FileSource, openFile } from "../../src/node/file-source.ts";
import { openPath } from "../../src/node/open-path.ts";
import { range } from "../../src/view/index-items.ts";
import { fixturePath } from "../fixtures.ts";
import { handMade, noise, raises, temporaryFolder } from "../support.ts";

const root = temporaryFolder();
let files = 0;

/** A new file that was last written long ago, so that clocks of any coarseness tell the next write apart. */
function oldFile(bytes: Uint8Array): string {
  const path = join(root, `${files++}.safetensors`);
  writeFileSync(path, bytes);
  utimesSync(path, 1.6e9, 1.6e9);
  return path;
}

/** Writes into a file where it lies, as a program does that does not know better. */
function overwrite(path: string, bytes: Uint8Array, at: number): void {
  const fd = openSync(path, "r+");
  writeSync(fd, bytes, 0, bytes.length, at);
  closeSync(fd);
}

const MiB = 2 ** 20;
const original = noise(3 * MiB);

describe("a file that changes", () => {
  for (const blocking of [false, true]) {
    describe(`under a source with blocking ${blocking}`, () => {
      const use = async (action: (source: FileSource, path: string) => Promise<void>): Promise<void> => {
        const path = oldFile(original);
        const source = await openFile(path, { blocking });
        try {
          await action(source, path);
        } finally {
          await source.close();
        }
      };
      const isWhole = async (source: FileSource): Promise<void> => {
        assert.ok(Buffer.compare(await source.read(0, original.length), original) === 0);
      };

      it("is an error from the next read on, wherever it was written to", async () => {
        await use(async (source, path) => {
          await isWhole(source);
          overwrite(path, noise(1, 2), original.length - 1);
          const changed = raises("SOURCE_CHANGED", /it has been written to/, { file: path });
          await assert.rejects(async () => source.read(0, 10), changed);
          await assert.rejects(async () => source.readInto(0, new Uint8Array(10)), changed);
          await assert.rejects(async () => source.read(0, original.length), changed);
        });
      });

      it("is an error when it grows", async () => {
        await use(async (source, path) => {
          appendFileSync(path, "x");
          const grown = raises("SOURCE_CHANGED", /had 3145728 bytes and now has 3145729/, { file: path });
          await assert.rejects(async () => source.read(0, 10), grown);
          utimesSync(path, 1.6e9, 1.6e9);
          await assert.rejects(async () => source.read(0, 10), grown);
        });
      });

      it("is an error when it is cut: what is gone and what is left", async () => {
        await use(async (source, path) => {
          truncateSync(path, MiB);
          await assert.rejects(async () => source.read(MiB - 1, 2), raises("SHORT_READ", /1 bytes short/));
          await assert.rejects(async () => source.read(0, 10), raises("SOURCE_CHANGED"));
          // Cut and then filled up again it has zeros where data was.
          truncateSync(path, original.length);
          await assert.rejects(async () => source.read(2 * MiB, 10), raises("SOURCE_CHANGED"));
        });
      });

      it("is not one that gets another mode, other names, or none", async () => {
        await use(async (source, path) => {
          chmodSync(path, 0o600);
          linkSync(path, `${path}.link`);
          await isWhole(source);
          unlinkSync(`${path}.link`);
          renameSync(path, `${path}.moved`);
          await isWhole(source);
        });
      });

      it("is not one whose name another file takes, or that is removed: the old one is read", {
        skip: process.platform === "win32",
      }, async () => {
        await use(async (source, path) => {
          const other = oldFile(noise(original.length, 9));
          renameSync(other, path);
          await isWhole(source);
          unlinkSync(path);
          await isWhole(source);
          writeFileSync(path, "new");
          await isWhole(source);
        });
      });
    });

    describe(`under a checkpoint with blocking ${blocking}`, () => {
      const names = Array.from({ length: 24 }, (_, i) => `layer.${i}`);
      const dataOf = (name: string): Uint8Array => noise(MiB, 100 + names.indexOf(name));
      const content = handMade(
        Object.fromEntries(
          names.map((name) => [name, { dtype: "U8", shape: [1024, 1024], data: dataOf(name) }]),
        ),
      );
      const use = async (action: (checkpoint: Checkpoint, path: string) => Promise<void>): Promise<void> => {
        const path = oldFile(content);
        await using checkpoint = await openPath(path, { blocking });
        await action(checkpoint, path);
      };
      const isNamed = (error: unknown, path: string): void => {
        assert.ok(error instanceof SafetensorsError, String(error));
        assert.ok(names.includes(error.details.tensor!), error.message);
        assert.match(error.message, /reading tensor "layer\.\d+"/);
        assert.equal(error.details.file, path);
      };
      /** Reads all, calling `disturb` once `after` tensors have come. What comes must be right, then the error. */
      const readWhile = async (
        checkpoint: Checkpoint,
        path: string,
        after: number,
        disturb: () => void,
      ): Promise<SafetensorsError> => {
        let count = 0;
        if (count === after) disturb();
        try {
          for await (const { name, bytes } of checkpoint.read({ budget: 4 * MiB, borrowed: true })) {
            assert.ok(Buffer.compare(bytes, dataOf(name)) === 0, name);
            if (++count === after) disturb();
          }
        } catch (error) {
          isNamed(error, path);
          // No more than the budget had room for was read before.
          assert.ok(count >= after && count <= after + 4, `${count} tensors came`);
          return error as SafetensorsError;
        }
        return assert.fail("nothing was noticed");
      };

      it("stops a run when it is overwritten", async () => {
        for (const after of [0, 1, 7]) {
          await use(async (checkpoint, path) => {
            const disturb = (): void => overwrite(path, noise(content.length, 5).subarray(200_000), 200_000);
            const { code } = await readWhile(checkpoint, path, after, disturb);
            assert.equal(code, "SOURCE_CHANGED");
          });
        }
      });

      it("stops a run when it is cut, and fills nothing with zeros", async () => {
        for (const [after, length] of [
          [0, 0],
          [0, 5 * MiB],
          [3, 12 * MiB],
          [3, content.length - 1],
        ] as const) {
          await use(async (checkpoint, path) => {
            const { code } = await readWhile(checkpoint, path, after, () => truncateSync(path, length));
            assert.match(code, /^(SHORT_READ|SOURCE_CHANGED)$/);
          });
        }
      });

      it("stops a tensor that comes in chunks, is read whole, or in part", async () => {
        await use(async (checkpoint, path) => {
          const tensor = checkpoint.get("layer.3");
          const expected = dataOf("layer.3");
          const changed = raises("SOURCE_CHANGED", /reading tensor "layer\.3"/, {
            tensor: "layer.3",
            file: path,
          });
          const column = tensor.slice(null, range(8, 16));
          let done = 0;
          await assert.rejects(async () => {
            for await (const chunk of tensor.chunks(new Uint8Array(100_000))) {
              assert.deepEqual(chunk, expected.subarray(done, done + chunk.length));
              done += chunk.length;
              if (done === 300_000) overwrite(path, noise(1000), content.length - 1000);
            }
          }, changed);
          assert.equal(done, 300_000);
          await assert.rejects(tensor.bytes(), changed);
          await assert.rejects(column.bytes(), changed);
          await assert.rejects(tensor.chunks(new Uint8Array(5000)).next(), changed);
        });
      });
    });
  }

  it("is noticed when it is written to while a read is under way", async () => {
    const path = oldFile(noise(40 * MiB));
    const source = await openFile(path);
    const read = source.read(0, 40 * MiB);
    overwrite(path, noise(MiB, 2), 20 * MiB);
    await assert.rejects(read, raises("SOURCE_CHANGED"));
    await source.close();
  });

  it("is noticed before its header is read", async () => {
    const path = oldFile(handMade({ a: { dtype: "U8", shape: [4], data: noise(4) } }));
    const source = await openFile(path);
    overwrite(path, noise(4), 0);
    await assert.rejects(openSafetensors(source), raises("SOURCE_CHANGED", /./, { file: path }));
    await source.close();
  });

  for (const [change, disturb] of [
    ["overwritten", (path: string): void => overwrite(path, noise(64), statSync(path).size - 64)],
    ["cut", (path: string): void => truncateSync(path, 100)],
  ] as const) {
    it(`fails a conversion when it is ${change}, which leaves all as it was`, async () => {
      for (const existing of [undefined, "what was here before"]) {
        const folder = join(root, `convert-${files++}`);
        mkdirSync(folder);
        const input = join(folder, "model.bin");
        const output = join(folder, "model.safetensors");
        copyFileSync(fixturePath("torch/dtypes.pt"), input);
        utimesSync(input, 1.6e9, 1.6e9);
        if (existing !== undefined) writeFileSync(output, existing);
        const before = readdirSync(folder);
        let calls = 0;
        const onProgress = (done: number, total: number): void => {
          assert.ok(done < total, "the conversion went on to its end");
          if (++calls === 2) disturb(input);
        };
        const expected = raises(change === "cut" ? "SHORT_READ" : "SOURCE_CHANGED", /./, { file: input });
        await assert.rejects(convertPath(input, output, { onProgress }), expected);
        assert.equal(calls, 2);
        assert.deepEqual(readdirSync(folder), before);
        if (existing !== undefined) assert.equal(readFileSync(output, "utf8"), existing);
      }
    });
  }
});
