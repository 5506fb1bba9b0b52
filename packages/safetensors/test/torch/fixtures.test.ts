import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import type { ErrorCode } from "../../src/errors.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { groupAliases, openTorch, type TorchCheckpoint } from "../../src/torch/index.ts";
import { fixture } from "../fixtures.ts";
import { raises, stridedViewOf } from "../support.ts";

interface ExpectedTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly sha256: string;
}

/** What PyTorch itself found in a file; see interop/make_torch_fixtures.py. */
interface Expected {
  readonly globals: readonly string[];
  readonly stateDict: string;
  readonly tensors: readonly ExpectedTensor[];
  readonly outside: readonly ExpectedTensor[];
  readonly aliases: readonly (readonly string[])[];
  readonly refused?: string;
}

const ALL: Readonly<Record<string, Expected>> = JSON.parse(
  new TextDecoder().decode(fixture("torch/expected.json")),
);
const EXPECTED = Object.entries(ALL).filter(([file]) => file.endsWith(".pt"));

/** How each reason for refusing a file shows. */
const REFUSALS: Readonly<Record<string, readonly [ErrorCode, RegExp]>> = {
  "several state dicts": ["AMBIGUOUS", /"generator", "discriminator"; or "" for all/],
  name: ["INVALID_NAME", /half of a surrogate pair/],
  key: ["INVALID_NAME", /neither text nor an int/],
  "same name": ["AMBIGUOUS", /two tensors get the name/],
  "no tensors": ["TENSOR_NOT_FOUND", /no tensors/],
  "big-endian": ["UNSUPPORTED", /tensor "x" has the dtype uint16 in a big-endian file/],
  "compressed by xz": ["UNSUPPORTED", /compressed by xz.* unpack it/],
  "compressed by bzip2": ["UNSUPPORTED", /compressed by bzip2.* unpack it/],
  class: ["UNSUPPORTED", /tensor "special" is of the class "company\.tensor\.Special"/],
  sparse: ["UNSUPPORTED", /tensor ".*" is sparse/],
  quantized: ["UNSUPPORTED", /tensor ".*" is quantized/],
  meta: ["UNSUPPORTED", /tensor ".*" is a meta tensor/],
  dtype: ["UNSUPPORTED", /tensor ".*" is of the dtype complex/],
  archive: ["INVALID_ARCHIVE", /not in a folder/],
  storage: ["INVALID_ARCHIVE", /tensor "weight": /],
  bounds: ["INVALID_TENSOR", /tensor "x" /],
};

/** Reasons for refusing a conversion that do not keep anyone from reading. */
const READABLE = new Set(["reserved name", "too large"]);

function open(file: string, key?: string): Promise<TorchCheckpoint> {
  return openTorch(fromBytes(fixture(`torch/${file}`)), { key });
}

async function check(file: string, expected: Expected, key?: string): Promise<void> {
  const checkpoint = await open(file, key);
  const found: ExpectedTensor[] = [];
  for (const tensor of checkpoint) {
    const hash = createHash("sha256").update(await tensor.bytes());
    found.push({ name: tensor.name, dtype: tensor.dtype, shape: tensor.shape, sha256: hash.digest("hex") });
  }
  const byName = (a: ExpectedTensor, b: ExpectedTensor) => (a.name < b.name ? -1 : 1);
  const wanted = expected.tensors.map(({ name, dtype, shape, sha256 }) => ({ name, dtype, shape, sha256 }));
  assert.deepEqual(found.sort(byName), wanted.sort(byName));

  const { container, tensorsOutside } = checkpoint.report;
  assert.equal(container, key ?? expected.stateDict);
  assert.deepEqual(
    tensorsOutside.listed.map(({ path }) => path),
    expected.outside.map(({ name }) => name),
  );
  const { kept, aliases } = groupAliases(checkpoint);
  for (const names of expected.aliases) {
    assert.deepEqual(names.filter((name) => kept.includes(name)).length, 1);
    for (const name of names) if (aliases.has(name)) assert.ok(names.includes(aliases.get(name)!));
  }
  const tied = expected.aliases.reduce((sum, names) => sum + names.length - 1, 0);
  assert.deepEqual([aliases.size, kept.length], [tied, checkpoint.size - tied]);
}

for (const [file, expected] of EXPECTED) {
  const { refused } = expected;
  if (refused === undefined) {
    test(`${file} holds what PyTorch finds in it`, () => check(file, expected));
  } else if (refused.startsWith("global:")) {
    test(`${file} is refused: ${refused}`, async () => {
      const global = refused.slice("global:".length);
      await assert.rejects(open(file), raises("FORBIDDEN_GLOBAL", /the file asks for/, { global }));
    });
  } else if (!READABLE.has(refused)) {
    test(`${file} is refused: ${refused}`, async () => {
      await assert.rejects(open(file), raises(...REFUSALS[refused]!));
    });
  }
}

test("of two state dicts both can be had, or one", async () => {
  await check("two-state-dicts.pt", ALL["two-state-dicts.pt"]!, "");
  const one = await open("two-state-dicts.pt", "generator");
  assert.deepEqual([...one.keys()].sort(), ["bias", "step", "weight"]);
  assert.equal(one.report.tensorsOutside.count, 3);
});

test("the report names what the file asks for", async () => {
  for (const [file, { globals, refused }] of EXPECTED) {
    if (refused === undefined) assert.equal((await open(file)).report.globals.length, globals.length, file);
  }
  const { report } = await open("objects.pt");
  const roles = new Map(report.globals.map(({ name, role, called }) => [name, [role, called]]));
  assert.deepEqual(roles.get("argparse.Namespace"), ["inert", true]);
  assert.deepEqual(roles.get("builtins.range"), ["inert", true]);
  assert.deepEqual(roles.get("torch.bfloat16"), ["interpreted", false]);
  assert.deepEqual(roles.get("torch.FloatStorage"), ["interpreted", false]);
  const namespace = report.leftOut.listed.find(({ path }) => path === "namespace");
  assert.equal(namespace?.kind, "object of argparse.Namespace");
  const unknown = (await open("unknown-class.pt")).report.globals.find(({ role }) => role === "unknown");
  assert.equal(unknown?.name, "company.settings.Settings");
});

test("a repeated element and a reserved name are the writer's business", async () => {
  const bomb = (await open("expansion-bomb.pt")).get("x");
  assert.deepEqual(bomb.shape, [10 ** 6, 10 ** 6]);
  assert.deepEqual(stridedViewOf(bomb).strides, [0, 0]);
  assert.ok((await open("reserved-name.pt")).has("__metadata__"));
});
