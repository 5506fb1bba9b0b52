import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { save } from "../../src/save/save.ts";
import { memorySink } from "../../src/save/sink.ts";
import { applyRecipe } from "../../src/transform/apply.ts";
import { invertRecipe } from "../../src/transform/invert.ts";
import type { Operation } from "../../src/transform/operation.ts";
import type { Recipe, RecipeStep } from "../../src/transform/recipe.ts";
import { raises } from "../support.ts";
import { checkpointOf, contentOf } from "./tensors.ts";

const recipeOf = (...steps: RecipeStep[]): Recipe => ({ version: 1, steps });

/** A step that does this to one tensor. */
const one = (...ops: Operation[]): Recipe => recipeOf({ from: ["a"], to: ["b"], ops });

describe("applyRecipe", () => {
  it("renames, and keeps, drops or refuses what no step uses", async () => {
    const checkpoint = await checkpointOf({ "x.0.a": [2], "x.1.a": [2], y: [1] });
    const step = { from: ["x.{i}.a"], to: ["z{i}"] };
    const names = (recipe: Recipe): string[] =>
      applyRecipe(checkpoint, recipe).tensors.map(({ name }) => name);
    assert.deepEqual(names({ version: 1, steps: [step] }), ["z0", "z1", "y"]);
    assert.deepEqual(names({ version: 1, others: "drop", steps: [step] }), ["z0", "z1"]);
    const { report } = applyRecipe(checkpoint, { version: 1, others: "drop", steps: [step] });
    assert.deepEqual(report, { steps: [{ used: 2, made: 2 }], kept: 0, dropped: ["y"] });
    assert.throws(
      () => names({ version: 1, others: "error", steps: [step] }),
      raises("AMBIGUOUS", /no step of the recipe uses tensor "y"/, { tensor: "y" }),
    );
  });

  it("may exchange names", async () => {
    const checkpoint = await checkpointOf({ a: [2], b: [3] });
    const { tensors } = applyRecipe(checkpoint, recipeOf({ from: ["a", "b"], to: ["b", "a"] }));
    assert.deepEqual(
      tensors.map(({ name, shape }) => [name, shape]),
      [
        ["b", [2]],
        ["a", [3]],
      ],
    );
  });

  it("takes a capture of several parts, of none too", async () => {
    const checkpoint = await checkpointOf({ "h.0.w": [1], "a.b.h.0.w": [2], "h.0": [3], "xh.0.w": [4] });
    const { tensors } = applyRecipe(
      checkpoint,
      recipeOf({ from: ["{p...}.h.{i}.w"], to: ["{p...}.layers.{i}.w"] }),
    );
    assert.deepEqual(
      tensors.map(({ name }) => name),
      ["layers.0.w", "a.b.layers.0.w", "h.0", "xh.0.w"],
    );
  });

  it("names the member that is missing", async () => {
    const all = ["e.0.w", "e.1.w", "e.3.w"];
    const step = { from: ["e.{i}.w"], to: ["all"], ops: [{ op: "stack", over: "i", axis: 0 }] } as const;
    const checkpoint = await checkpointOf(Object.fromEntries(all.map((name) => [name, [2]])));
    const missing = (tensor: string) =>
      raises("TENSOR_NOT_FOUND", /^.*steps\[0\]: tensor .* is missing/, { tensor });
    assert.throws(() => applyRecipe(checkpoint, recipeOf(step)), missing("e.2.w"));
    // The last expert of one layer, and one of two projections.
    const shapes = {
      "0.1.g": [2],
      "0.0.g": [2],
      "1.0.g": [2],
      "0.0.u": [2],
      "0.1.u": [2],
      "1.0.u": [2],
      "1.1.u": [2],
    };
    const both = {
      from: ["{l}.{i}.g", "{l}.{i}.u"],
      to: ["{l}.gu"],
      ops: [
        { op: "stack", over: "i", axis: 0 },
        { op: "concat", axis: 1 },
      ],
    } as const;
    const partial = await checkpointOf(shapes);
    assert.throws(() => applyRecipe(partial, recipeOf(both)), missing("1.1.g"));
    const counted = recipeOf({ ...both, ops: [{ op: "stack", over: "i", axis: 0, count: 3 }, both.ops[1]] });
    const whole = await checkpointOf({ ...shapes, "1.1.g": [2] });
    assert.equal(applyRecipe(whole, recipeOf(both)).tensors.length, 2);
    assert.throws(
      () => applyRecipe(whole, counted),
      raises("SIZE_MISMATCH", /steps\[0\]\.ops\[0\]: there are 2 members, not 3/),
    );
  });

  it("refuses what can be understood in two ways", async () => {
    const checkpoint = await checkpointOf({ "e.0.w": [2], "e.x.w": [2], a: [1], b: [1] });
    const refused = (recipe: Recipe, message: RegExp): void => {
      assert.throws(() => applyRecipe(checkpoint, recipe), raises("AMBIGUOUS", message));
    };
    const stack = { op: "stack", over: "i", axis: 0 } as const;
    refused(
      recipeOf({ from: ["e.{i}.w"], to: ["all"], ops: [stack] }),
      /\{i\} of tensor "e\.x\.w" is "x", which is no number/,
    );
    refused(
      recipeOf({
        from: ["e.{i}.w", "{x...}.w"].map((text) => text.replace("x...", "i...")),
        to: ["c.{i}", "d.{i}"],
      }),
      /matches "e\.\{i\}\.w" and "\{i\.\.\.\}\.w"/,
    );
  });

  it("does something to some of the tensors only, where `on` says so", async () => {
    const checkpoint = await checkpointOf({ q: [4, 1], k: [4, 1], v: [4, 1] });
    const { tensors } = applyRecipe(
      checkpoint,
      recipeOf({
        from: ["q", "k", "v"],
        to: ["qkv"],
        ops: [
          { op: "permuteRope", heads: 1, on: [0, 1] },
          { op: "concat", axis: 0 },
        ],
      }),
    );
    const rows = async (name: string): Promise<number[]> => [
      ...((await checkpoint.get(name).data()) as Uint16Array),
    ];
    const [q, k, v] = [await rows("q"), await rows("k"), await rows("v")];
    const permuted = (values: number[]): number[] => [0, 2, 1, 3].map((row) => values[row]!);
    assert.deepEqual(
      [...((await tensors[0]!.data()) as Uint16Array)],
      [...permuted(q), ...permuted(k), ...v],
    );
  });

  it("refuses a tensor that is used twice, unless both steps share it", async () => {
    const checkpoint = await checkpointOf({ a: [1] });
    const [first, second] = [
      { from: ["a"], to: ["b"] },
      { from: ["{x}"], to: ["c.{x}"] },
    ];
    assert.throws(
      () => applyRecipe(checkpoint, recipeOf(first, second)),
      raises("AMBIGUOUS", /steps\[1\]: tensor "a" is used by steps\[0\] as well/, { tensor: "a" }),
    );
    assert.throws(
      () => applyRecipe(checkpoint, recipeOf({ ...first, share: true }, second)),
      raises("AMBIGUOUS"),
    );
    const { tensors } = applyRecipe(
      checkpoint,
      recipeOf({ ...first, share: true }, { ...second, share: true }),
    );
    assert.deepEqual(
      tensors.map(({ name }) => name),
      ["b", "c.a"],
    );
  });

  it("refuses a name that two tensors get, or that is there", async () => {
    const checkpoint = await checkpointOf({ a: [1], b: [1], c: [1] });
    const message = /a tensor "c" is there already, from steps\[0\]/;
    const twice = recipeOf(
      { from: ["a"], to: ["c"] },
      { from: ["b"], to: ["c"] },
      { from: ["c"], to: ["d"] },
    );
    assert.throws(() => applyRecipe(checkpoint, twice), raises("AMBIGUOUS", message));
    assert.throws(
      () => applyRecipe(checkpoint, recipeOf({ from: ["a"], to: ["c"] })),
      raises("AMBIGUOUS", message),
    );
  });

  it("refuses a step that finds nothing, unless it is optional", async () => {
    const checkpoint = await checkpointOf({ a: [1] });
    const step = { from: ["x.{i}"], to: ["y.{i}"] };
    assert.throws(
      () => applyRecipe(checkpoint, recipeOf(step)),
      raises("TENSOR_NOT_FOUND", /steps\[0\]: no tensor matches "x\.\{i\}"/),
    );
    const { report } = applyRecipe(checkpoint, recipeOf({ ...step, optional: true }));
    assert.deepEqual(report, { steps: [{ used: 0, made: 0 }], kept: 1, dropped: [] });
  });

  it("says at which step and tensor an operation does not fit", async () => {
    const checkpoint = await checkpointOf({ a: [3, 4] });
    const cases: [Operation, RegExp][] = [
      [{ op: "transpose", axes: [0] }, /do not name each of 2 dimensions/],
      [{ op: "transpose", axes: [0, 2] }, /do not name each/],
      [{ op: "reshape", shape: [5, -1] }, /do not fill/],
      [{ op: "reshape", shape: [12], from: [4, 3] }, /has shape \[3,4\], not \[4,3\]/],
      [{ op: "permuteRope", heads: 1 }, /even number of rows for each of 1 heads/],
      [{ op: "permuteRope", heads: 0 }, /even number of rows for each of 0 heads/],
      [{ op: "slice", axis: 2 }, /no axis 2/],
      [{ op: "concat", axis: -3 }, /no axis -3/],
      [{ op: "concat", axis: 0, sizes: [4] }, /have sizes \[3\] along axis 0, not \[4\]/],
      [{ op: "stack", axis: 3 }, /no axis 3/],
    ];
    for (const [op, message] of cases) {
      const recipe = one({ op: "transpose", axes: [0, 1] }, op);
      assert.throws(
        () => applyRecipe(checkpoint, recipe),
        raises(/sizes|has shape/.test(message.source) ? "SIZE_MISMATCH" : "INVALID_SLICE", message, {
          tensor: "a",
        }),
      );
      assert.throws(() => applyRecipe(checkpoint, recipe), /: steps\[0\]\.ops\[1\]: /);
    }
  });

  it("takes variables by their names, other names and defaults", async () => {
    const checkpoint = await checkpointOf({ a: [12] });
    const recipe: Recipe = {
      version: 1,
      variables: [
        { name: "n", aliases: ["heads"] },
        { name: "m", default: "{n}*2" },
      ],
      steps: [{ from: ["a"], to: ["b"], ops: [{ op: "reshape", shape: ["{n}", "12/{m}", -1] }] }],
    };
    const shape = (variables: Record<string, number>): readonly number[] =>
      applyRecipe(checkpoint, recipe, { variables }).tensors[0]!.shape;
    assert.deepEqual(shape({ n: 2 }), [2, 3, 2]);
    assert.deepEqual(shape({ heads: 3, other: 0.5 }), [3, 2, 2]);
    assert.deepEqual(shape({ heads: 2, m: 6 }), [2, 2, 3]);
    assert.throws(() => shape({}), raises("UNSUPPORTED", /needs a value for "n"$/));
    assert.throws(() => shape({ n: 2, m: 5 }), raises("INVALID_SLICE", /"12\/\{m\}" is no whole number/));
    assert.throws(() => shape({ n: 1.5 }), raises("OUT_OF_RANGE", /"n" is 1\.5/));
    assert.throws(() => shape({ n: 2, m: 0 }), raises("INVALID_SLICE"));
  });

  it("joins elements below a byte where their bytes do not begin together, and refuses to save half a byte", async () => {
    const shapes = { a: [2, 3], b: [2, 3] };
    const checkpoint = await checkpointOf(shapes, "F4");
    const bits = async (name: string): Promise<number[]> =>
      [...((await checkpoint.get(name).bytes()) as Uint8Array)].flatMap((byte) => [byte & 15, byte >> 4]);
    const [a, b] = [await bits("a"), await bits("b")];
    const join = recipeOf({ from: ["a", "b"], to: ["c"], ops: [{ op: "concat", axis: 1, sizes: "equal" }] });
    const { tensors } = applyRecipe(checkpoint, join);
    const found = [...(await tensors[0]!.bytes())].flatMap((byte) => [byte & 15, byte >> 4]);
    assert.deepEqual(found, [...a.slice(0, 3), ...b.slice(0, 3), ...a.slice(3), ...b.slice(3)]);
    const back = applyRecipe(tensors, invertRecipe(join));
    assert.deepEqual(await contentOf(back.tensors), await contentOf(checkpoint));
    const halves = applyRecipe(
      checkpoint,
      recipeOf({ from: ["a"], to: ["x", "y"], ops: [{ op: "split", axis: 0 }] }),
    );
    await assert.rejects(
      save(
        memorySink(),
        halves.tensors.map((tensor) => [tensor.name, tensor] as const),
      ),
      raises("MISALIGNED", /"x"/),
    );
  });

  it("does not take a tensor apart into more than can be", async () => {
    const checkpoint = await checkpointOf({ a: [2 ** 40, 0] });
    const step = { from: ["a"], to: ["b.{i}"], ops: [{ op: "unstack", over: "i", axis: 0 }] } as const;
    assert.throws(
      () => applyRecipe(checkpoint, recipeOf(step)),
      raises("LIMIT_EXCEEDED", /steps\[0\]\.ops\[0\]/),
    );
  });
});

describe("invertRecipe", () => {
  const refused: [RecipeStep, RegExp][] = [
    [{ from: ["a"] }, /steps\[0\] takes tensors away/],
    [{ from: ["a"], to: ["b"], share: true }, /steps\[0\]\.share/],
    [{ from: ["a"], to: ["b"], ops: [{ op: "slice", axis: 0 }] }, /steps\[0\]\.ops\[0\] is a slice/],
    [{ from: ["a", "b"], to: ["c"], ops: [{ op: "concat", axis: 0 }] }, /steps\[0\]\.ops\[0\]\.sizes/],
    [
      { from: ["a.{i}"], to: ["c"], ops: [{ op: "concat", over: "i", axis: 0, sizes: "equal" }] },
      /ops\[0\]\.count/,
    ],
    [{ from: ["a"], to: ["b"], ops: [{ op: "reshape", shape: [-1] }] }, /ops\[0\]\.from/],
  ];
  for (const [step, message] of refused) {
    it(`refuses ${JSON.stringify(step)}`, () => {
      assert.throws(() => invertRecipe(recipeOf(step)), raises("UNSUPPORTED", message));
    });
  }

  it("refuses a recipe that drops the others, and leaves out what is taken away if it is there", () => {
    const step = { from: ["a"], to: ["b"] };
    assert.throws(
      () => invertRecipe({ version: 1, others: "drop", steps: [step] }),
      raises("UNSUPPORTED", /others/),
    );
    const inverse = invertRecipe(recipeOf(step, { from: ["x"], optional: true }));
    assert.deepEqual(inverse.steps, [{ from: ["b"], to: ["a"] }]);
  });
});
