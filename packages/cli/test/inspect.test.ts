import assert from "node:assert/strict";
import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  copyTorch,
  expectedOf,
  safetensors,
  startSafetensors,
  temporaryFolder,
  torchFixture,
} from "./command.ts";
import { evenHeader, writeHeader } from "./files.ts";

const LAYERS = Array.from({ length: 12 }, (_, layer) => [
  `h.${layer}.attn.weight`,
  `h.${layer}.mlp.weight`,
]).flat();

test("inspect shows format, sizes, metadata, dtypes and tensors", (t) => {
  const path = join(temporaryFolder(t), "model.safetensors");
  const header = {
    __metadata__: { format: "pt", note: "x".repeat(500) },
    b: { dtype: "BF16", shape: [3], data_offsets: [24, 30] },
    a: { dtype: "F32", shape: [2, 3], data_offsets: [0, 24] },
  };
  writeHeader(path, header, 30);
  const { code, stdout, stderr } = safetensors(["inspect", path]);
  assert.equal(stderr, "");
  assert.equal(code, 0);
  for (const line of [
    /^ {2}format +safetensors$/m,
    /^ {2}file +model\.safetensors$/m,
    /^ {2}tensors +2$/m,
    /^ {2}parameters +9$/m,
    /^ {2}data +30 B$/m,
    /^ {2}metadata +format = pt$/m,
    /note = x{72}…$/m,
    /^ {2}F32 +1 +6 +24 B +80\.0 %$/m,
    /^ {2}BF16 +1 +3 +6 B +20\.0 %$/m,
    /^ {2}a +F32 +\[2, 3\] +24 B\n {2}b +BF16 +\[3\] +6 B$/m,
  ]) {
    assert.match(stdout, line);
  }
});

test("inspect --json has everything, for a single file", (t) => {
  const path = join(temporaryFolder(t), "model.safetensors");
  const tensor = { dtype: "U8", shape: [2], data_offsets: [4, 6] };
  const header = { a: { dtype: "F32", shape: [], data_offsets: [0, 4] }, __proto__x: tensor };
  writeHeader(path, `{"__metadata__":{"__proto__":"kept"},${JSON.stringify(header).slice(1)}`, 6);
  const { code, stdout } = safetensors(["inspect", path, "--json"]);
  assert.equal(code, 0);
  assert.match(stdout, /"__proto__": "kept"/);
  const { metadata: _metadata, ...rest } = JSON.parse(stdout);
  assert.deepEqual(rest, {
    format: "safetensors",
    files: [{ file: "model.safetensors", bytes: statSync(path).size }],
    tensorCount: 2,
    parameters: 3,
    bytes: 6,
    dtypes: {
      F32: { tensors: 1, parameters: 1, bytes: 4 },
      U8: { tensors: 1, parameters: 2, bytes: 2 },
    },
    problems: [],
    tensors: [
      { name: "a", dtype: "F32", shape: [], bytes: 4, dataOffsets: [0, 4] },
      { name: "__proto__x", dtype: "U8", shape: [2], bytes: 2, dataOffsets: [4, 6] },
    ],
  });
});

test("inspect shows many tensors as a tree in which equal layers are one", (t) => {
  const path = join(temporaryFolder(t), "model.safetensors");
  writeHeader(path, ...evenHeader(["wte.weight", ...LAYERS, "ln_f.weight"]));
  const { stdout } = safetensors(["inspect", path]);
  const tree = stdout.slice(stdout.indexOf("  name"));
  assert.equal(
    tree,
    [
      "  name            dtype  shape           bytes",
      "  wte.weight      F32    [2, 3]           24 B",
      "  h.0…11                 24 tensors      576 B",
      "  ├─ attn.weight  F32    [2, 3]      12 × 24 B",
      "  └─ mlp.weight   F32    [2, 3]      12 × 24 B",
      "  ln_f.weight     F32    [2, 3]           24 B",
      "",
    ].join("\n"),
  );
});

test("inspect does not merge layers that differ", (t) => {
  const path = join(temporaryFolder(t), "model.safetensors");
  writeHeader(
    path,
    ...evenHeader([...LAYERS.slice(0, 6), "h.3.attn.bias", "h.10.attn.weight", "h.10.mlp.weight"]),
  );
  const { stdout } = safetensors(["inspect", path, "--tree"]);
  assert.match(stdout, /0…2 /);
  assert.match(stdout, /3\.attn\.bias /);
  assert.match(stdout, /─ 10 /);
});

test("inspect --table, --names and --limit choose what is shown", (t) => {
  const path = join(temporaryFolder(t), "model.safetensors");
  writeHeader(path, ...evenHeader(LAYERS));
  const named = safetensors(["inspect", path, "--table", "--names", "h.1?.attn.*"]).stdout;
  assert.match(named, /^ {2}tensors +2 of 24, named h\.1\?\.attn\.\*$/m);
  assert.deepEqual(named.match(/^ {2}h\.\S+/gm), ["  h.10.attn.weight", "  h.11.attn.weight"]);
  const limited = safetensors(["inspect", path, "--table", "--limit", "3"]).stdout;
  assert.equal(limited.match(/^ {2}h\.\S+/gm)?.length, 3);
  assert.match(limited, /and 21 lines more$/m);
});

test("inspect opens folders and indexes as one checkpoint", (t) => {
  const folder = temporaryFolder(t);
  const files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] as const;
  writeHeader(join(folder, files[0]), ...evenHeader(["a", "b"]));
  writeHeader(join(folder, files[1]), ...evenHeader(["c"]));
  const index = { metadata: {}, weight_map: { a: files[0], b: files[0], c: files[1] } };
  writeFileSync(join(folder, "model.safetensors.index.json"), JSON.stringify(index));
  for (const path of [folder, join(folder, "model.safetensors.index.json")]) {
    const found = JSON.parse(safetensors(["inspect", path, "--json"]).stdout);
    assert.equal(found.index, "model.safetensors.index.json");
    assert.deepEqual(
      found.tensors.map((one: { name: string; file: string }) => [one.name, one.file]),
      [
        ["a", files[0]],
        ["b", files[0]],
        ["c", files[1]],
      ],
    );
  }
  assert.match(
    safetensors(["inspect", folder]).stdout,
    /^ {2}files +model-00001-of-00002\.safetensors +\d+ B$/m,
  );
});

test("inspect shows what can be understood of an invalid file, and exits with 1", (t) => {
  const path = join(temporaryFolder(t), "cut.safetensors");
  const [header] = evenHeader(["a", "b"]);
  writeHeader(path, header, 40);
  const { code, stdout } = safetensors(["inspect", path]);
  assert.equal(code, 1);
  assert.match(stdout, /1 problem/);
  assert.match(stdout, /TRUNCATED: the file is 8 bytes too short/);
  assert.match(stdout, /^ {2}b +F32/m);
  const json = JSON.parse(safetensors(["inspect", path, "--json"]).stdout);
  assert.equal(json.problems[0].code, "TRUNCATED");
});

test("inspect never lets a name or a value steer the terminal", (t) => {
  const path = join(temporaryFolder(t), "model.safetensors");
  const names = [
    "\u001b]0;title\u0007",
    "up\u001b[A",
    "\u202etxt.exe",
    "\u009b31m",
    "line\nbreak",
    "",
    " ",
    "del\u007f",
  ];
  writeHeader(path, ...evenHeader(names, { "key\u001b[31m": "value\u001b[31m" }));
  for (const options of [[], ["--tree"], ["--json"], ["--names", "*"]]) {
    const { stdout } = safetensors(["inspect", path, ...options]);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there.
    assert.doesNotMatch(stdout, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
    assert.match(stdout, /up\\u001b\[A/);
  }
  const json = JSON.parse(safetensors(["inspect", path, "--json"]).stdout);
  assert.deepEqual(json.tensors.map((one: { name: string }) => one.name).sort(), names.sort());
});

test("inspect takes names of any depth", (t) => {
  const path = join(temporaryFolder(t), "deep.safetensors");
  writeHeader(path, ...evenHeader([".".repeat(200_000), "a.".repeat(100_000), "a"]));
  assert.equal(safetensors(["inspect", path, "--tree"]).code, 0);
});

test("inspect says what a PyTorch file asks for, and that nothing was run", () => {
  const file = "training.pt";
  const { code, stdout } = safetensors(["inspect", torchFixture(file)]);
  assert.equal(code, 0);
  assert.match(stdout, /^ {2}format +torch/m);
  assert.match(stdout, /torch\._utils\._rebuild_tensor_v2/);
  assert.match(stdout, /none (was )?run/);
  const json = JSON.parse(safetensors(["inspect", torchFixture(file), "--json"]).stdout);
  const { tensors, globals } = expectedOf(file);
  assert.deepEqual(
    json.tensors.map(({ name, dtype, shape }: (typeof tensors)[0]) => ({ name, dtype, shape })),
    tensors.map(({ name, dtype, shape }) => ({ name, dtype, shape })),
  );
  assert.deepEqual(json.pickle.globals.map((one: { name: string }) => one.name).sort(), globals);
});

test("inspect of something that cannot be read says why, with the exit code for it", (t) => {
  const folder = temporaryFolder(t);
  const page = join(folder, "page.safetensors");
  writeFileSync(page, "<!doctype html><title>404</title>");
  const missing = join(folder, "missing");
  for (const [path, code, error] of [
    [page, 1, "NOT_SAFETENSORS"],
    [missing, 2, "NOT_FOUND"],
    [copyTorch("os-system.pt", folder), 1, "FORBIDDEN_GLOBAL"],
  ] as const) {
    const run = safetensors(["inspect", path]);
    assert.equal(run.code, code);
    assert.equal(run.stdout, "");
    assert.match(run.stderr, new RegExp(`^error ${error}: `));
    const json = JSON.parse(safetensors(["inspect", path, "--json"]).stdout);
    assert.equal(json.error.code, error);
  }
});

test("inspect ends quietly when its reader goes away", async (t) => {
  const path = join(temporaryFolder(t), "model.safetensors");
  const names = Array.from({ length: 20_000 }, (_, index) => `tensor.${index}.${"x".repeat(index % 50)}`);
  writeHeader(path, ...evenHeader(names));
  const child = startSafetensors(["inspect", path, "--table"]);
  let errors = "";
  child.stderr?.on("data", (text) => {
    errors += text;
  });
  child.stdout?.once("data", () => child.stdout?.destroy());
  const code = await new Promise((resolve) => child.on("close", resolve));
  assert.equal(errors, "");
  assert.equal(code, 0);
});
