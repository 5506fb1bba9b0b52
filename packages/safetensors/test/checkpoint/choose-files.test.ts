import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  type ChosenFiles,
  chooseFiles,
  type FileChoice,
  usualNames,
} from "../../src/checkpoint/choose-files.ts";
import { SafetensorsError } from "../../src/errors.ts";
import { raises } from "../support.ts";

/** `model-00001-of-00002.safetensors` and so on. */
const set = (before: string, count: number, after = ".safetensors"): string[] =>
  Array.from({ length: count }, (_, i) => `${before}-${pad(i + 1)}-of-${pad(count)}${after}`);

const pad = (number: number): string => String(number).padStart(5, "0");

const choose = (names: readonly string[], choice?: FileChoice): ChosenFiles =>
  chooseFiles(names, "here", choice);

type Case = readonly [names: readonly string[], chosen: ChosenFiles, choice?: FileChoice];

/** What libraries save, and what repositories hold. */
const cases: Readonly<Record<string, Case>> = {
  "a single file": [["model.safetensors"], { files: ["model.safetensors"] }],
  "a single file before its shards": [
    ["model.safetensors", "model.safetensors.index.json", ...set("model", 2)],
    { files: ["model.safetensors"] },
  ],
  "an index before other files": [
    [...set("model", 2), "model.safetensors.index.json", "x.safetensors", "training_args.bin"],
    { index: "model.safetensors.index.json" },
  ],
  "consolidated.safetensors beside an index": [
    ["consolidated.safetensors", ...set("model", 3), "model.safetensors.index.json", "params.json"],
    { index: "model.safetensors.index.json" },
  ],
  "consolidated.safetensors alone": [
    ["consolidated.safetensors", "params.json"],
    { files: ["consolidated.safetensors"] },
  ],
  "an adapter beside what belongs to it": [
    ["adapter_config.json", "adapter_model.safetensors", "optimizer.pt", "rng_state.pth", "README.md"],
    { files: ["adapter_model.safetensors"] },
  ],
  "a model before an adapter": [
    ["adapter_model.safetensors", "model.safetensors"],
    { files: ["model.safetensors"] },
  ],
  "safetensors before PyTorch": [
    ["pytorch_model.bin", "model.safetensors"],
    { files: ["model.safetensors"] },
  ],
  "safetensors of any name before PyTorch": [
    ["pytorch_model.bin", "pytorch_model.bin.index.json", "z.safetensors"],
    { files: ["z.safetensors"] },
  ],
  "PyTorch where it is asked for": [
    ["pytorch_model.bin", "model.safetensors"],
    { files: ["pytorch_model.bin"] },
    { format: "torch" },
  ],
  "PyTorch shards beside training state": [
    [...set("pytorch_model", 2, ".bin"), "pytorch_model.bin.index.json", "optimizer.pt", "training_args.bin"],
    { index: "pytorch_model.bin.index.json" },
  ],
  "a PyTorch variant": [
    ["pytorch_model.bin", "pytorch_model.fp16.bin"],
    { files: ["pytorch_model.fp16.bin"] },
    { variant: "fp16" },
  ],
  "a safetensors variant before a PyTorch file": [
    ["pytorch_model.bin", "model.fp16.safetensors"],
    { files: ["model.fp16.safetensors"] },
  ],
  "the file without a variant": [
    ["model.fp16.safetensors", "model.safetensors", "model.non_ema.safetensors"],
    { files: ["model.safetensors"] },
  ],
  "the variant asked for": [
    ["model.fp16.safetensors", "model.safetensors", "model.bf16.safetensors"],
    { files: ["model.fp16.safetensors"] },
    { variant: "fp16" },
  ],
  "the only variant": [["model.fp16.safetensors"], { files: ["model.fp16.safetensors"] }],
  "a variant's index": [
    [
      ...set("model", 2),
      ...set("model.fp16", 2),
      "model.safetensors.index.json",
      "model.safetensors.index.fp16.json",
    ],
    { index: "model.safetensors.index.fp16.json" },
    { variant: "fp16" },
  ],
  "the index without a variant": [
    [
      ...set("model", 2),
      ...set("model.fp16", 2),
      "model.safetensors.index.fp16.json",
      "model.safetensors.index.json",
    ],
    { index: "model.safetensors.index.json" },
  ],
  "the index of the only variant": [
    [...set("model.fp16", 2), "model.safetensors.index.fp16.json"],
    { index: "model.safetensors.index.fp16.json" },
  ],
  "an index as huggingface_hub names it for a variant": [
    [...set("model.fp16", 2), "model.fp16.safetensors.index.json"],
    { index: "model.fp16.safetensors.index.json" },
  ],
  "a variant's numbered set, its name before the number": [
    [...set("model", 3), ...set("model.fp16", 2)],
    { files: set("model.fp16", 2) },
    { variant: "fp16" },
  ],
  "a variant's numbered set, its name after the number": [
    [...set("model", 3), ...set("model", 2, ".fp16.safetensors")],
    { files: set("model", 2, ".fp16.safetensors") },
    { variant: "fp16" },
  ],
  "a numbered set beside a variant's": [
    [...set("model", 3), ...set("model.fp16", 2), ...set("model", 2, ".bf16.safetensors")],
    { files: set("model", 3) },
  ],
  "the numbered set of the only variant": [
    set("model", 2, ".fp16.safetensors"),
    { files: set("model", 2, ".fp16.safetensors") },
  ],
  "a variant of another name": [
    ["flux.fp8.safetensors", "flux.safetensors"],
    { files: ["flux.fp8.safetensors"] },
    { variant: "fp8" },
  ],
  "a file of another name before its variant": [
    ["flux.fp8.safetensors", "flux.safetensors"],
    { files: ["flux.safetensors"] },
  ],
  "a file of another name before the index of its variant": [
    ["flux.safetensors", ...set("flux.fp8", 2), "flux.safetensors.index.fp8.json"],
    { files: ["flux.safetensors"] },
  ],
  "a variant with characters that patterns know": [
    ["x.a+b.safetensors", "x.aab.safetensors", "x.safetensors"],
    { files: ["x.a+b.safetensors"] },
    { variant: "a+b" },
  ],
  "a folder of diffusers": [
    [
      "config.json",
      "diffusion_pytorch_model.bin",
      "diffusion_pytorch_model.fp16.bin",
      "diffusion_pytorch_model.fp16.safetensors",
      "diffusion_pytorch_model.non_ema.safetensors",
      "diffusion_pytorch_model.safetensors",
    ],
    { files: ["diffusion_pytorch_model.safetensors"] },
  ],
  "a variant in a folder of diffusers": [
    [
      "diffusion_pytorch_model.fp16.safetensors",
      "diffusion_pytorch_model.non_ema.safetensors",
      "diffusion_pytorch_model.safetensors",
    ],
    { files: ["diffusion_pytorch_model.non_ema.safetensors"] },
    { variant: "non_ema" },
  ],
  "a sharded variant in a folder of diffusers": [
    [...set("diffusion_pytorch_model.fp16", 3), "diffusion_pytorch_model.safetensors.index.fp16.json"],
    { index: "diffusion_pytorch_model.safetensors.index.fp16.json" },
  ],
  "the weights beside hidden files": [
    [".cache", "._model.safetensors", ".a.safetensors", ".model.safetensors.index.json", "w.safetensors"],
    { files: ["w.safetensors"] },
  ],
  "the weights beside those in other folders": [
    ["x/model.safetensors", "../model.safetensors", "x\\y.safetensors", "x.safetensors"],
    { files: ["x.safetensors"] },
  ],
  "the weights beside what is no weights": [
    [
      "model.safetensors.lock",
      "model.safetensors.tmp",
      "model.SAFETENSORS",
      "safetensors",
      "xsafetensors",
      "w.pt",
    ],
    { files: ["w.pt"] },
  ],
};

describe("chooseFiles", () => {
  for (const [what, [names, chosen, choice]] of Object.entries(cases)) {
    it(`finds ${what}`, () => assert.deepEqual(choose(names, choice), chosen));
  }

  it("does not guess between candidates, but names them", () => {
    const ambiguous: Readonly<Record<string, readonly string[]>> = {
      "unrelated files": ["a.safetensors", "b.safetensors"],
      "two variants": [
        "diffusion_pytorch_model.fp16.safetensors",
        "diffusion_pytorch_model.non_ema.safetensors",
      ],
      "two sharded variants": ["m.safetensors.index.bf16.json", "m.safetensors.index.fp16.json"],
      "two indexes": ["a.safetensors.index.json", "b.safetensors.index.json"],
      "two numbered sets": [...set("language", 2), ...set("vision", 3)],
      "a numbered set and a file": [...set("x", 2), "y.safetensors"],
      "a numbered set and a file with the same content": [...set("x", 2), "x.safetensors"],
      "two numbered sets of one name": [...set("x", 2), ...set("x", 3)],
    };
    for (const [what, names] of Object.entries(ambiguous)) {
      assert.throws(
        () => choose(names),
        (error: Error) => {
          for (const name of names)
            assert.ok(error.message.includes(`"${name}"`), `${what}: ${error.message}`);
          return raises("AMBIGUOUS", /^AMBIGUOUS: here holds .*; name the one to open$/, { file: "here" })(
            error,
          );
        },
        what,
      );
    }
  });

  it("does not guess between the two spellings of a sharded variant", () => {
    const names = [...set("x.fp16", 2), ...set("x", 2, ".fp16.safetensors")];
    for (const choice of [{}, { variant: "fp16" }]) {
      assert.throws(() => choose(names, choice), raises("AMBIGUOUS", /x-00001-of-00002\.fp16/));
    }
  });

  it("shows names of candidates harmlessly, and not more than a few", () => {
    const names = Array.from({ length: 100 }, (_, i) => `\u001b[31m${i}${"x".repeat(1000)}.safetensors`);
    assert.throws(
      () => choose(names),
      (error: Error) => {
        assert.ok(!error.message.includes("\u001b"));
        assert.ok(error.message.length < 3000);
        return raises("AMBIGUOUS", / and 92 more; /)(error);
      },
    );
  });

  it("refuses a numbered set with files missing", () => {
    for (const names of [
      set("model", 3).slice(1),
      set("model.fp16", 3).slice(0, 2),
      set("model", 3, ".fp16.safetensors").slice(0, 1),
    ]) {
      const expected = raises("INDEX_MISMATCH", new RegExp(`there are ${names.length} files .* say 3`));
      assert.throws(() => choose(names), expected);
      if (names[0]!.includes("fp16")) assert.throws(() => choose(names, { variant: "fp16" }), expected);
    }
    const noPlain = [...set("model", 2).slice(1), ...set("model.fp16", 2)];
    assert.throws(() => choose(noPlain), raises("INDEX_MISMATCH", /model-\*-of-00002\.safetensors/));
  });

  it("says what it has not found, and where", () => {
    const none = (message: RegExp) => raises("NOT_FOUND", message, { file: "here" });
    assert.throws(() => choose([]), none(/here holds no safetensors and no PyTorch file$/));
    assert.throws(() => choose(["model.gguf", "config.json"]), none(/no PyTorch file$/));
    assert.throws(
      () => choose(["model.safetensors"], { format: "torch" }),
      none(/here holds no torch file$/),
    );
    assert.throws(
      () => choose(["model.safetensors"], { variant: "\u202efp16" }),
      none(/of the variant "\\u202efp16"$/),
    );
    for (const variant of ["", "fp", "p16", ".*", "fp16.", "(", "\\", "é", "\n", "😀"]) {
      assert.throws(() => choose(["model.fp16.safetensors"], { variant }), none(/of the variant/), variant);
    }
  });

  const part = fc.constantFrom(
    ...[
      "model",
      "x",
      "pytorch_model",
      "adapter_model",
      "consolidated",
      ".",
      "-",
      "-00001-of-00002",
      "-00002-of-00002",
    ],
    ...[".fp16", ".bf16", ".safetensors", ".bin", ".pt", ".index", ".json", "/", "\\", "\n", "\u202e"],
  );
  const name = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...Object.values(cases).flatMap(([names]) => names)) },
    { weight: 2, arbitrary: fc.array(part, { maxLength: 6 }).map((parts) => parts.join("")) },
    { weight: 1, arbitrary: fc.string({ unit: "binary" }) },
  );
  const names = fc.uniqueArray(name, { maxLength: 12 });
  const choice = fc.record(
    {
      format: fc.constantFrom("safetensors" as const, "torch" as const),
      variant: fc.oneof(fc.constantFrom("fp16", "bf16", "fp8", "a+b"), fc.string({ unit: "binary" })),
    },
    { requiredKeys: [] },
  );

  /** What is chosen, or how it is refused. */
  function outcome(names: readonly string[], choice: FileChoice): unknown {
    try {
      return choose(names, choice);
    } catch (error) {
      assert.ok(error instanceof SafetensorsError, String(error));
      return error.message;
    }
  }

  it("does not depend on the order of the names", () => {
    const shuffled = names.chain((list) =>
      fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length })),
    );
    fc.assert(
      fc.property(shuffled, choice, ([list, other], choice) => {
        assert.deepEqual(outcome(list, choice), outcome(other, choice));
      }),
      { seed: 42, numRuns: 300 },
    );
  });

  it("refuses properly or chooses visible names from the list, and no two files of one name", () => {
    const property = fc.property(names, choice, (list, choice) => {
      const chosen = outcome(list, choice);
      if (typeof chosen === "string") return;
      const picked =
        "files" in (chosen as ChosenFiles)
          ? (chosen as { files: string[] }).files
          : [(chosen as { index: string }).index];
      assert.ok(picked.length > 0);
      assert.equal(new Set(picked).size, picked.length);
      for (const name of picked) assert.ok(list.includes(name) && !/^\.|[/\\]/.test(name), name);
      if (choice.variant !== undefined)
        for (const name of picked) assert.ok(name.includes(`.${choice.variant}`), name);
    });
    fc.assert(property, { seed: 42, numRuns: 1000 });
  });
});

describe("usualNames", () => {
  it("gives the names that libraries give, safetensors before PyTorch, a file before its index", () => {
    assert.deepEqual(usualNames({ format: "safetensors" }), [
      "model.safetensors",
      "model.safetensors.index.json",
      "diffusion_pytorch_model.safetensors",
      "diffusion_pytorch_model.safetensors.index.json",
      "adapter_model.safetensors",
      "adapter_model.safetensors.index.json",
      "consolidated.safetensors",
      "consolidated.safetensors.index.json",
    ]);
    const all = usualNames({});
    assert.deepEqual(all.slice(0, 8), usualNames({ format: "safetensors" }));
    assert.deepEqual(all.slice(8), usualNames({ format: "torch" }));
    assert.ok(all.includes("pytorch_model.bin") && all.includes("pytorch_model.bin.index.json"));
  });

  it("gives no names that lead to another folder", () => {
    for (const variant of ["/../../x", "..\\x", "a/b"]) assert.deepEqual(usualNames({ variant }), []);
  });

  it("gives names that chooseFiles finds, of the variant asked for", () => {
    for (const choice of [{}, { variant: "fp16" }, { format: "torch", variant: "a+b" }] as const) {
      const usual = usualNames(choice);
      for (const [i, name] of usual.entries()) {
        const chosen = choose(usual.slice(i), choice);
        assert.deepEqual(chosen, name.endsWith(".json") ? { index: name } : { files: [name] });
      }
    }
    assert.deepEqual(usualNames({ variant: "fp16" }).slice(0, 2), [
      "model.fp16.safetensors",
      "model.safetensors.index.fp16.json",
    ]);
  });
});
