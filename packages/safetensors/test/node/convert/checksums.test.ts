import assert from "node:assert/strict";
import fs, { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import { describe, it } from "node:test";
import { convertPath, convertToTorch, openPath, saveCheckpoint } from "../../../src/node/index.ts";
import { npyHeader } from "../../../src/numpy/index.ts";
import { fixturePath } from "../../fixtures.ts";
import { concat, noise, raises, stridedViewOf, temporaryFolder } from "../../support.ts";
import { pickleOf } from "../../torch/containers.ts";
import { storage, tensor, torchFile } from "../../torch/torch-file.ts";
import { buildZip } from "../../zip/zip-builder.ts";

const root = temporaryFolder();
let folders = 0;

/** A folder with an input, and the path of an output that is not there yet. */
function placed(file: Uint8Array, name = "model.pt"): { folder: string; input: string; output: string } {
  const folder = join(root, String(folders++));
  mkdirSync(folder);
  const input = join(folder, name);
  writeFileSync(input, file);
  return { folder, input, output: join(folder, "out.safetensors") };
}

const SMALL = noise(48, 1);
const LARGE = noise((5 << 20) + 4, 2);

/** A file with two tensors that are whole storages, one small and one large. */
function twoStorages(records: Readonly<Record<string, Uint8Array>> = {}): Uint8Array<ArrayBuffer> {
  const elements = LARGE.length / 4;
  const value = {
    s: tensor({ storage: storage("torch.FloatStorage", "0", 12) }),
    l: tensor({ storage: storage("torch.FloatStorage", "1", elements), size: [elements], stride: [1] }),
  };
  return torchFile({ "data.pkl": pickleOf(value), "data/0": SMALL, "data/1": LARGE, ...records });
}

/** The file with a bit turned where these bytes lie in it. */
function damagedIn(file: Uint8Array, bytes: Uint8Array, at: number): Uint8Array {
  const start = Buffer.from(file).indexOf(bytes);
  assert.ok(start > 0);
  const copy = file.slice();
  copy[start + at]! ^= 4;
  return copy;
}

async function refused(
  { folder, input, output }: ReturnType<typeof placed>,
  message: RegExp,
  options: Parameters<typeof convertPath>[2] = {},
): Promise<void> {
  const before = readdirSync(folder);
  await assert.rejects(convertPath(input, output, options), raises("INVALID_ARCHIVE", message));
  assert.deepEqual(readdirSync(folder), before);
}

describe("a conversion", () => {
  it("finds a byte that has changed, in small and large tensors, wherever it is, and leaves nothing", async () => {
    const whole = placed(twoStorages());
    await convertPath(whole.input, whole.output);
    for (const [bytes, name, member, places] of [
      [SMALL, "s", "data/0", [0, 20, SMALL.length - 1]],
      [LARGE, "l", "data/1", [0, (1 << 20) - 1, 3 << 20, LARGE.length - 1]],
    ] as const) {
      for (const at of places) {
        const place = placed(damagedIn(twoStorages(), bytes, at));
        const message = new RegExp(
          `tensor "${name}" is damaged: the checksum of "model/${member}" in .*model.pt`,
        );
        await refused(place, message);
        for (const options of [{ verify: true }, { resume: "x" }, { dtype: "BF16" }] as const)
          await refused(place, message, options);
        const torch = join(place.folder, "out.pt");
        for (const options of [{}, { dtype: "BF16" }] as const)
          await assert.rejects(
            convertToTorch(place.input, torch, options),
            raises("INVALID_ARCHIVE", message),
          );
        assert.deepEqual(readdirSync(place.folder), ["model.pt"]);
      }
    }
  });

  it("finds it in files that PyTorch wrote, and in one of several", async () => {
    for (const name of ["state-dict.pt", "torch-1.13.pt", "tied.pt"]) {
      const file = new Uint8Array(readFileSync(fixturePath(`torch/${name}`)));
      await using checkpoint = await openPath(fixturePath(`torch/${name}`));
      const first = [...checkpoint].find(({ byteLength }) => byteLength > 8)!;
      file[stridedViewOf(first).bitOffset / 8 + 1]! ^= 0x10;
      await refused(placed(file), /checksum/);
    }
    const folder = join(root, "sharded");
    fs.cpSync(fixturePath("torch/sharded"), folder, { recursive: true });
    const files = readdirSync(folder).filter((name) => name.endsWith(".bin"));
    const last = join(folder, files.at(-1)!);
    const file = new Uint8Array(readFileSync(last));
    await using checkpoint = await openPath(last);
    file[stridedViewOf([...checkpoint][0]!).bitOffset / 8]! ^= 1;
    writeFileSync(last, file);
    const output = join(root, "sharded-out");
    await assert.rejects(convertPath(folder, output), raises("INVALID_ARCHIVE", new RegExp(files.at(-1)!)));
    assert.ok(!readdirSync(root).includes("sharded-out"));
  });

  it("takes files without checksums", async () => {
    const file = damagedIn(twoStorages(), LARGE, 9);
    const view = new DataView(file.buffer);
    for (let at = 0; at + 46 < file.length; at++) {
      const isEntry = view.getUint32(at, true) === 0x02014b50;
      if (isEntry || view.getUint32(at, true) === 0x04034b50)
        view.setUint32(at + (isEntry ? 16 : 14), 0, true);
    }
    for (const options of [{}, { verify: true }]) {
      const place = placed(file);
      await convertPath(place.input, place.output, options);
      await using checkpoint = await openPath(place.output);
      assert.equal(checkpoint.size, 2);
    }
    const { output } = placed(file);
    await convertPath(fixturePath("torch/no-crc.pt"), output);
  });

  it("leaves parts of storages, other orders, and what no tensor is made of to `verify`", async () => {
    const transposed = { x: tensor({ size: [4, 3], stride: [1, 4] }) };
    const part = { x: tensor({ size: [11], stride: [1] }) };
    const other = { x: tensor({ storage: storage("torch.FloatStorage", "1") }) };
    for (const value of [transposed, part, other]) {
      const file = torchFile({ "data.pkl": pickleOf(value), "data/0": SMALL, "data/1": noise(48, 3) });
      const place = placed(damagedIn(file, SMALL, 3));
      await refused(place, /"model\/data\/0" is damaged: its checksum is not/, { verify: true });
      await convertPath(place.input, place.output);
      const intact = placed(file);
      await convertPath(intact.input, intact.output, { verify: true });
    }
  });

  it("compares every member once when it verifies", async () => {
    const { input, output } = placed(twoStorages());
    const { readSync } = fs;
    let read = 0;
    const counted = (...args: unknown[]): number => {
      const count = (readSync as (...args: unknown[]) => number)(...args);
      read += count;
      return count;
    };
    fs.readSync = counted as typeof readSync;
    syncBuiltinESMExports();
    try {
      await convertPath(input, output, { verify: true });
    } finally {
      fs.readSync = readSync;
      syncBuiltinESMExports();
    }
    // Once from the input, once from the output.
    assert.ok(read > 2 * LARGE.length && read < 2.5 * LARGE.length, `${read} bytes`);
  });

  it("compares the arrays of a NumPy archive, and their headers", async () => {
    const array = noise(24, 4);
    const header = npyHeader("F32", [2, 3]);
    const big = concat([npyHeader("U8", [LARGE.length]), LARGE]);
    const file = buildZip([
      { name: "a.npy", data: concat([header, array]) },
      { name: "b.npy", data: big },
    ]);
    const whole = placed(file, "x.npz");
    await convertPath(whole.input, whole.output, { verify: true });
    await refused(
      placed(damagedIn(file, array, 5), "x.npz"),
      /tensor "a" .* checksum of "a\.npy" in .*x\.npz/,
    );
    await refused(placed(damagedIn(file, LARGE, 5 << 20), "x.npz"), /tensor "b" .* checksum of "b\.npy"/);
    const otherHeader = file.slice();
    const shape = Buffer.from(otherHeader).indexOf("(2, 3)");
    otherHeader.set(Buffer.from("(3, 2)"), shape);
    await refused(placed(otherHeader, "x.npz"), /tensor "a" .* checksum/);
  });

  it("goes on with the files of one that was stopped", async () => {
    const { folder, input } = placed(twoStorages());
    const output = join(folder, "out");
    const names: string[] = [];
    const controller = new AbortController();
    const stopAtSecond = (_done: number, _total: number, file: string): void => {
      if (!names.includes(file)) names.push(file);
      if (names.length === 2) controller.abort(new Error("stopped"));
    };
    const options = { resume: "x", maxShardSize: LARGE.length };
    const stopped = convertPath(input, output, {
      ...options,
      signal: controller.signal,
      onProgress: stopAtSecond,
    });
    await assert.rejects(stopped, /stopped/);
    await convertPath(input, output, { ...options, verify: true });
    await using checkpoint = await openPath(output);
    assert.deepEqual(new Uint8Array(await checkpoint.get("s").bytes()), SMALL);
    assert.ok(Buffer.from(await checkpoint.get("l").bytes()).equals(LARGE));
  });
});

/** Runs work on a disk that changes a byte of what it is given, if that is long enough, without a word. */
async function onLyingDisk<T>(length: number, work: () => Promise<T>): Promise<T> {
  const { write, writeSync } = fs;
  let lies = 0;
  const changed = (bytes: Uint8Array): Uint8Array => {
    if (bytes.length < length || lies++ > 0) return bytes;
    const copy = bytes.slice();
    copy[copy.length - 1]! ^= 1;
    return copy;
  };
  const lying =
    (call: unknown) =>
    (fd: number, bytes: Uint8Array, ...rest: unknown[]): unknown =>
      (call as (...args: unknown[]) => unknown)(fd, changed(bytes), ...rest);
  fs.write = lying(write) as typeof write;
  fs.writeSync = lying(writeSync) as typeof writeSync;
  syncBuiltinESMExports();
  try {
    return await work();
  } finally {
    Object.assign(fs, { write, writeSync });
    syncBuiltinESMExports();
    assert.ok(lies > 0);
  }
}

describe("a file that is read back", () => {
  it("is what was written: a disk that lies is found out", async () => {
    const { folder, input, output } = placed(twoStorages());
    const lied = (name: string) =>
      raises("IO", new RegExp(`tensor "${name}" reads back differently; is the disk failing`), {
        tensor: name,
      });
    const converting = (options: Parameters<typeof convertPath>[2]) => () =>
      convertPath(input, output, options);
    // The large tensor is copied by the sink, in pieces of 1 MiB.
    await assert.rejects(onLyingDisk(1 << 20, converting({ verify: true })), lied("l"));
    await assert.rejects(onLyingDisk(1 << 18, converting({ verify: true, resume: "x" })), lied("l"));
    await assert.rejects(onLyingDisk(1 << 18, converting({ verify: true, dtype: "BF16" })), lied("l"));
    assert.deepEqual(readdirSync(folder), ["model.pt"]);
    const saving = (): Promise<unknown> =>
      saveCheckpoint(output, { x: { dtype: "U8", shape: [LARGE.length], data: LARGE } }, { verify: true });
    await assert.rejects(onLyingDisk(1 << 18, saving), lied("x"));
    const torch = join(folder, "out.pt");
    const toTorch = (): Promise<unknown> => convertToTorch(input, torch, { verify: true });
    await assert.rejects(onLyingDisk(1 << 18, toTorch), raises("IO", /out\.pt could not be written/));
    assert.deepEqual(readdirSync(folder), ["model.pt"]);
    await onLyingDisk(1 << 20, converting({}));
    assert.deepEqual(readdirSync(folder).sort(), ["model.pt", "out.safetensors"]);
    await converting({ verify: true })();
  });
});
