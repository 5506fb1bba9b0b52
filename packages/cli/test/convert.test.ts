import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  BIN,
  copyTorch,
  type Expected,
  expectedOf,
  namesIn,
  safetensors,
  temporaryFolder,
  torchFixture,
} from "./command.ts";
import { evenHeader, writeHeader } from "./files.ts";
import { writeTorchFile } from "./torch-file.ts";

const POSIX_ONLY = { skip: process.platform === "win32" };

interface ReadTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly sha256: string;
}

/** Reads a safetensors file with nothing but the format's definition. */
function readBack(path: string): { tensors: ReadTensor[]; metadata: Record<string, string> } {
  const bytes = readFileSync(path);
  const start = 8 + Number(bytes.readBigUInt64LE());
  const { __metadata__: metadata, ...entries } = JSON.parse(bytes.toString("utf8", 8, start));
  const tensors = Object.entries<{ dtype: string; shape: number[]; data_offsets: [number, number] }>(entries);
  return {
    metadata,
    tensors: tensors.map(
      ([
        name,
        {
          dtype,
          shape,
          data_offsets: [begin, end],
        },
      ]) => {
        const data = bytes.subarray(start + begin, start + end);
        return { name, dtype, shape, sha256: createHash("sha256").update(data).digest("hex") };
      },
    ),
  };
}

/** The file has all tensors of the fixture but those that are tied to another one. */
function assertConverted(
  path: string,
  { tensors }: Pick<Expected, "tensors">,
  tied: readonly string[] = [],
): void {
  const byName = (a: ReadTensor, b: ReadTensor): number => (a.name < b.name ? -1 : 1);
  const wanted = tensors.filter((one) => !tied.includes(one.name));
  assert.deepEqual(
    readBack(path).tensors.sort(byName),
    wanted.map(({ name, dtype, shape, sha256 }) => ({ name, dtype, shape, sha256 })).sort(byName),
  );
}

test("convert writes beside the input and says what it did", (t) => {
  const folder = temporaryFolder(t);
  const input = copyTorch("training.pt", folder);
  const { code, stdout, stderr } = safetensors(["convert", input]);
  assert.equal(stderr, "");
  assert.equal(code, 0);
  assert.deepEqual(namesIn(folder), ["training.pt", "training.safetensors"]);
  assertConverted(join(folder, "training.safetensors"), expectedOf("training.pt"));
  assert.deepEqual(readBack(join(folder, "training.safetensors")).metadata, { format: "pt" });
  assert.match(stdout, /training\.safetensors/);
  assert.match(stdout, /none (was )?run/);
  assert.match(stdout, /left out/);
});

test("convert calls pytorch_model.bin model.safetensors", (t) => {
  const folder = temporaryFolder(t);
  copyTorch("state-dict.pt", folder, "pytorch_model.bin");
  assert.equal(safetensors(["convert", folder]).code, 0);
  assert.deepEqual(namesIn(folder), ["model.safetensors", "pytorch_model.bin"]);
});

test("convert --quiet prints nothing", (t) => {
  const input = copyTorch("state-dict.pt", temporaryFolder(t));
  assert.deepEqual(safetensors(["convert", input, "--quiet"]), { code: 0, stdout: "", stderr: "" });
});

test("convert keeps one of several tied tensors and names the others", (t) => {
  const folder = temporaryFolder(t);
  const { stdout } = safetensors(["convert", copyTorch("tied.pt", folder)]);
  const [tied] = expectedOf("tied.pt").aliases;
  const { metadata, tensors } = readBack(join(folder, "tied.safetensors"));
  const kept = tied!.filter((name) => tensors.some((tensor) => tensor.name === name));
  assert.equal(kept.length, 1);
  const dropped = tied!.filter((name) => name !== kept[0]);
  assert.deepEqual(metadata, { format: "pt", ...Object.fromEntries(dropped.map((name) => [name, kept[0]])) });
  assertConverted(join(folder, "tied.safetensors"), expectedOf("tied.pt"), dropped);
  for (const name of dropped) assert.match(stdout, new RegExp(`${name} .*${kept[0]}`));
});

test("convert keeps views that overlap but differ", (t) => {
  const folder = temporaryFolder(t);
  safetensors(["convert", copyTorch("views.pt", folder)]);
  assertConverted(join(folder, "views.safetensors"), expectedOf("views.pt"));
});

test("convert takes an output file or folder", (t) => {
  const folder = temporaryFolder(t);
  const input = copyTorch("state-dict.pt", folder);
  const out = join(folder, "out");
  assert.equal(safetensors(["convert", input, `${out}/`]).code, 0);
  assert.deepEqual(namesIn(out), ["state-dict.safetensors"]);
  assert.equal(safetensors(["convert", input, out]).code, 0);
  assert.deepEqual(namesIn(out), ["state-dict.safetensors"]);
  assert.equal(safetensors(["convert", input, join(out, "chosen.name")]).code, 0);
  assert.deepEqual(namesIn(out), ["chosen.name", "state-dict.safetensors"]);
  const nowhere = safetensors(["convert", input, join(folder, "nowhere", "x.safetensors")]);
  assert.equal(nowhere.code, 2);
  assert.match(nowhere.stderr, /NOT_FOUND: there is no folder/);
});

for (const sharded of ["sharded", "sharded-tied"]) {
  test(`convert keeps the split of a checkpoint of several files (${sharded})`, (t) => {
    const folder = temporaryFolder(t);
    const input = copyTorch(sharded, folder);
    const out = join(folder, "new", "out");
    const { code, stderr } = safetensors(["convert", input, out]);
    assert.equal(stderr, "");
    assert.equal(code, 0);
    const files = [1, 2, 3].map((number) => `model-0000${number}-of-00003.safetensors`);
    assert.deepEqual(namesIn(out), [...files, "model.safetensors.index.json"]);

    const { tensors, aliases } = expectedOf(`${sharded}/pytorch_model.bin.index.json`);
    const weightMap: Record<string, string> = {};
    const stored: ReadTensor[] = [];
    for (const file of files) {
      for (const tensor of readBack(join(out, file)).tensors) {
        weightMap[tensor.name] = file;
        stored.push(tensor);
      }
    }
    const dropped = tensors.filter((tensor) => !(tensor.name in weightMap)).map((tensor) => tensor.name);
    assert.equal(
      dropped.length,
      aliases.reduce((sum, group) => sum + group.length - 1, 0),
    );
    for (const { name, sha256 } of stored) {
      assert.equal(sha256, tensors.find((tensor) => tensor.name === name)?.sha256);
    }
    const index = readFileSync(join(out, "model.safetensors.index.json"), "utf8");
    const size = files.reduce((sum, file) => sum + dataLength(join(out, file)), 0);
    const sorted = Object.fromEntries(Object.entries(weightMap).sort(([a], [b]) => (a < b ? -1 : 1)));
    assert.equal(
      index,
      `${JSON.stringify({ metadata: { total_size: size }, weight_map: sorted }, null, 2)}\n`,
    );
    assert.equal(safetensors(["check", out]).code, 0);
  });
}

function dataLength(path: string): number {
  const bytes = readFileSync(path);
  return bytes.length - 8 - Number(bytes.readBigUInt64LE());
}

test("convert refuses what is dangerous, invalid or already done, and writes nothing", (t) => {
  const folder = temporaryFolder(t);
  const done = join(folder, "done.safetensors");
  writeHeader(done, ...evenHeader(["a"]));
  const page = join(folder, "page.bin");
  writeFileSync(page, "<html><title>Sign in</title></html>");
  const cut = copyTorch("state-dict.pt", folder, "cut.pt");
  writeFileSync(cut, readFileSync(cut).subarray(0, -30));
  const before = namesIn(folder);
  for (const [input, code, error] of [
    [torchFixture("os-system.pt"), 1, /^error FORBIDDEN_GLOBAL: .*os\.system/],
    [torchFixture("missing-storage.pt"), 1, /^error \w+: /],
    [torchFixture("out-of-bounds.pt"), 1, /^error INVALID_TENSOR: /],
    [torchFixture("expansion-bomb.pt"), 1, /^error LIMIT_EXCEEDED: .*\n.*--allow-expansion/],
    [page, 1, /Sign in/],
    [cut, 1, /^error INVALID_ARCHIVE: /],
    [done, 2, /^error UNSUPPORTED: .*already/],
    [join(folder, "missing.bin"), 2, /^error NOT_FOUND: /],
  ] as const) {
    const out = join(folder, "out.safetensors");
    const run = safetensors(["convert", input, out]);
    assert.match(run.stderr, error, input);
    assert.equal(run.code, code, input);
    assert.equal(run.stdout, "");
    assert.deepEqual(namesIn(folder), before);
    const json = safetensors(["convert", input, out, "--json"]);
    assert.equal(json.code, code);
    assert.equal(json.stderr, "");
    assert.match(JSON.parse(json.stdout).error.code, /^[A-Z_]+$/);
  }
});

test("convert --key chooses among several sets of tensors", (t) => {
  const folder = temporaryFolder(t);
  const input = copyTorch("two-state-dicts.pt", folder);
  assert.equal(safetensors(["convert", input, "--key", "generator"]).code, 0);
  const { tensors } = expectedOf("two-state-dicts.pt");
  const names = tensors.map((tensor) => tensor.name).filter((name) => name.startsWith("generator."));
  const found = readBack(join(folder, "two-state-dicts.safetensors")).tensors.map((tensor) => tensor.name);
  assert.deepEqual(found.sort(), names.map((name) => name.slice("generator.".length)).sort());
  assert.notEqual(safetensors(["convert", input, "--key", "nothing"]).code, 0);
});

test("where there are several sets of tensors, each is listed with what is in it", () => {
  const input = torchFixture("two-state-dicts.pt");
  const places = [
    { key: "generator", tensors: 3, bytes: 78 },
    { key: "discriminator", tensors: 3, bytes: 78 },
    { key: "", tensors: 6, bytes: 156 },
  ];
  for (const args of [
    ["convert", input, "out.safetensors"],
    ["convert", input, "out.pt"],
    ["inspect", input],
    ["show", input, "weight"],
  ]) {
    const { code, stderr } = safetensors(args);
    assert.equal(code, 2);
    assert.equal(
      stderr.replace("two-state-dicts.pt: ", ""),
      "error AMBIGUOUS: tensors are in several places; choose one with --key:\n" +
        "  generator      3 tensors   78 B\n" +
        "  discriminator  3 tensors   78 B\n" +
        '  ""             6 tensors  156 B  all tensors\n',
    );
    const json = JSON.parse(safetensors([...args, "--json"]).stdout);
    assert.equal(json.error.code, "AMBIGUOUS");
    assert.deepEqual(json.error.places, places);
  }
});

test("convert --exclude gets past tensors that would be refused", (t) => {
  const folder = temporaryFolder(t);
  for (const kind of ["quantized", "coo", "complex128"]) {
    const input = copyTorch(`unreadable-${kind}.pt`, folder);
    assert.equal(safetensors(["convert", input]).code, 2);
    const { code, stderr } = safetensors(["convert", input, "--exclude", "oth*"]);
    assert.equal(code, 0, stderr);
    const { tensors } = readBack(join(folder, `unreadable-${kind}.safetensors`));
    assert.deepEqual(
      tensors.map(({ name }) => name),
      ["plain"],
    );
  }
});

test("convert never writes over its input, under whatever name", POSIX_ONLY, (t) => {
  const folder = temporaryFolder(t);
  const input = copyTorch("state-dict.pt", folder, "model.bin");
  const bytes = readFileSync(input);
  symlinkSync(input, join(folder, "symbolic"));
  linkSync(input, join(folder, "hard"));
  for (const output of [
    input,
    join(folder, "symbolic"),
    join(folder, "hard"),
    join(folder, ".", "model.bin"),
  ]) {
    const { code, stderr } = safetensors(["convert", input, output]);
    assert.equal(code, 2);
    assert.match(stderr, /is the input itself/);
  }
  assert.equal(safetensors(["convert", join(folder, "symbolic"), input]).code, 2);
  const named = copyTorch("state-dict.pt", folder, "named.safetensors");
  assert.equal(safetensors(["convert", named]).code, 2);
  assert.deepEqual(readFileSync(input), bytes);
  assert.deepEqual(namesIn(folder), ["hard", "model.bin", "named.safetensors", "symbolic"]);
});

test("convert writes through a link and keeps the mode of the file it replaces", POSIX_ONLY, (t) => {
  const folder = temporaryFolder(t);
  const input = copyTorch("state-dict.pt", folder);
  mkdirSync(join(folder, "real"));
  const real = join(folder, "real", "model.safetensors");
  writeFileSync(real, "old");
  chmodSync(real, 0o604);
  symlinkSync(real, join(folder, "link.safetensors"));
  assert.equal(safetensors(["convert", input, join(folder, "link.safetensors")]).code, 0);
  assert.ok(lstatSync(join(folder, "link.safetensors")).isSymbolicLink());
  assert.equal(statSync(real).mode & 0o777, 0o604);
  assertConverted(real, expectedOf("state-dict.pt"));
});

test("convert takes permissions from the umask", POSIX_ONLY, (t) => {
  const folder = temporaryFolder(t);
  const input = copyTorch("state-dict.pt", folder);
  const command = 'umask 027 && exec "$@"';
  spawnSync("sh", ["-c", command, "sh", process.execPath, BIN, "convert", input]);
  assert.equal(statSync(join(folder, "state-dict.safetensors")).mode & 0o777, 0o640);
});

test("convert says so when it may not write", POSIX_ONLY, (t) => {
  if (process.getuid?.() === 0) return t.skip("root may write anywhere");
  const folder = temporaryFolder(t);
  const input = copyTorch("state-dict.pt", folder);
  chmodSync(folder, 0o555);
  const { code, stderr } = safetensors(["convert", input]);
  chmodSync(folder, 0o755);
  assert.equal(code, 2);
  assert.match(stderr, /^error IO: .*\n {2}Check the permissions/);
});

test(
  "a second file that cannot be written leaves nothing new, and what was there before whole",
  POSIX_ONLY,
  (t) => {
    const folder = temporaryFolder(t);
    const input = join(folder, "in");
    mkdirSync(input);
    const [small, large] = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"] as const;
    writeTorchFile(join(input, small), { a: 1000 });
    writeTorchFile(join(input, large), { b: 1_000_000 });
    const weightMap = { a: small, b: large };
    writeFileSync(join(input, "pytorch_model.bin.index.json"), JSON.stringify({ weight_map: weightMap }));
    // Files of more than 1 MB (2000 blocks of 512 bytes) cannot be written, as if the disk were full.
    const limited = (output: string): ReturnType<typeof spawnSync> =>
      spawnSync(
        "sh",
        ["-c", 'ulimit -f 2000 && exec "$@"', "sh", process.execPath, BIN, "convert", input, output],
        {
          encoding: "utf8",
        },
      );

    const fresh = limited(join(folder, "fresh"));
    assert.equal(fresh.status, 2);
    assert.match(String(fresh.stderr), /^error IO: cannot write /);
    assert.deepEqual(namesIn(folder), ["in"]);

    const used = join(folder, "used");
    mkdirSync(used);
    writeFileSync(join(used, "model-00001-of-00002.safetensors"), "old");
    assert.equal(limited(used).status, 2);
    assert.deepEqual(namesIn(used), ["model-00001-of-00002.safetensors"]);
    assert.equal(readFileSync(join(used, "model-00001-of-00002.safetensors"), "utf8"), "old");

    assert.equal(safetensors(["convert", input, used]).code, 0);
    assert.equal(namesIn(used).length, 3);
  },
);

test("convert checks all files and the index before it writes", (t) => {
  const folder = temporaryFolder(t);
  const input = copyTorch("sharded", folder);
  const files = [1, 2, 3].map((number) => join(input, `pytorch_model-0000${number}-of-00003.bin`));
  const before = namesIn(input);
  const indexPath = join(input, "pytorch_model.bin.index.json");
  const index = readFileSync(indexPath, "utf8");

  writeFileSync(indexPath, index.replace("model.norm.weight", "model.norm.other"));
  const disagreeing = safetensors(["convert", input]);
  assert.equal(disagreeing.code, 1);
  assert.match(disagreeing.stderr, /^error INDEX_MISMATCH: /);

  writeFileSync(indexPath, index);
  writeFileSync(files[2]!, readFileSync(torchFixture("os-system.pt")));
  const dangerous = safetensors(["convert", input]);
  assert.equal(dangerous.code, 1);
  assert.match(dangerous.stderr, /^error FORBIDDEN_GLOBAL: pytorch_model-00003-of-00003\.bin: /);
  assert.deepEqual(namesIn(input), before);
});

test("convert writes the same bytes each time", (t) => {
  const folder = temporaryFolder(t);
  const input = copyTorch("dtypes.pt", folder);
  safetensors(["convert", input, join(folder, "1")]);
  safetensors(["convert", input, join(folder, "2")]);
  assert.deepEqual(readFileSync(join(folder, "1")), readFileSync(join(folder, "2")));
});

test("convert writes what is asked for, in as many files as asked for", (t) => {
  const folder = temporaryFolder(t);
  const run = (
    name: string,
    ...args: string[]
  ): { code: number | null; stderr: string; json: ConvertJson } => {
    const output = join(folder, name);
    const { code, stdout, stderr } = safetensors([
      "convert",
      torchFixture("sharded"),
      output,
      "--json",
      ...args,
    ]);
    return { code, stderr, json: JSON.parse(stdout) };
  };
  const one = run("one.safetensors", "--single-file", "--verify");
  assert.equal(one.code, 0, one.stderr);
  assert.equal(one.json.files.length, 1);
  assert.equal(one.json.inputs.length, 3);
  const split = run("split", "--max-shard-size", `${Math.ceil(one.json.files[0]!.bytes / 3)}`);
  assert.equal(split.code, 0, split.stderr);
  assert.ok(split.json.files.length >= 3);
  const part = run(
    "part.safetensors",
    "--single-file",
    "--include",
    "*.weight",
    "--exclude",
    "*.0.*",
    "--dtype",
    "F16",
  );
  assert.equal(part.code, 0, part.stderr);
  const { tensors } = JSON.parse(safetensors(["inspect", join(folder, "part.safetensors"), "--json"]).stdout);
  assert.ok(tensors.length > 0);
  for (const { name, dtype } of tensors) {
    assert.match(name, /\.weight$/);
    assert.doesNotMatch(name, /\.0\./);
    assert.notEqual(dtype, "F32");
  }
});

interface ConvertJson {
  readonly inputs: readonly unknown[];
  readonly files: readonly { readonly bytes: number }[];
}

test("convert refuses options that make no sense", (t) => {
  const output = join(temporaryFolder(t), "out");
  for (const [args, message] of [
    [["--max-shard-size", "5GiB"], /5GiB.*5GB or 500MB/],
    [["--dtype", "F8"], /F8.*F64, F32, F16, BF16/],
    [["--include", "nothing"], /TENSOR_NOT_FOUND/],
    [["--strip-prefix", "nothing."], /TENSOR_NOT_FOUND.*"nothing\."/],
    [["--keep", "nothing"], /TENSOR_NOT_FOUND.*"nothing"/],
    [["--discard", "nothing"], /TENSOR_NOT_FOUND.*"nothing"/],
  ] as const) {
    const { code, stderr } = safetensors(["convert", torchFixture("sharded"), output, ...args]);
    assert.equal(code, 2, args.join(" "));
    assert.match(stderr, message);
  }
});
