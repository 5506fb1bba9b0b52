import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseRecipe } from "../../src/transform/recipe.ts";
import { raises } from "../support.ts";

const STEP = { from: ["a"], to: ["b"] };
const recipe = (changes: object): string => JSON.stringify({ version: 1, steps: [STEP], ...changes });
const step = (changes: object): string => recipe({ steps: [STEP, { ...STEP, ...changes }] });
const op = (operation: object, changes: object = {}): string => step({ ops: [operation], ...changes });

/** Recipes, and the place that is wrong in each. */
const REFUSED: readonly (readonly [json: string, message: RegExp])[] = [
  ["", /ends there/],
  ["{", /expected/],
  ["[]", /the recipe must be an object/],
  [`${recipe({})} x`, /nothing but white space after the recipe/],
  ['{"version":1,"version":1,"steps":[]}', /"version" appears twice/],
  ['{"version":1.5,"steps":[]}', /whole number in plain digits/],
  ['{"version":null,"steps":[]}', /expected/],
  [`{"version":1,"steps":${"[".repeat(50)}`, /levels of nesting/],
  [recipe({ version: undefined }), /version must be a whole number .*missing/],
  [recipe({ version: 2 }), /version is newer than 1/],
  [recipe({ stepz: [] }), /stepz is not known here/],
  ['{"version":1,"__proto__":{},"steps":[]}', /__proto__ is not known/],
  [recipe({ "a\u0007b": 1 }), /"a\\u0007b" is not known/],
  [recipe({ steps: [] }), /steps has 0 items/],
  [recipe({ others: "all" }), /others must be one of keep, drop, error/],
  [recipe({ name: 5 }), /name must be a text/],
  [recipe({ name: "n".repeat(5000) }), /name is longer than 4096/],
  [recipe({ variables: [{ name: "1" }] }), /variables\[0\]\.name must be a word/],
  [
    recipe({ variables: [{ name: "n" }, { name: "n" }] }),
    /variables\[1\]\.name is "n", which is a variable already/,
  ],
  [recipe({ variables: [{ name: "n", default: "{m}" }] }), /variables\[0\]\.default uses \{m\}/],
  [recipe({ variables: [{ name: "n", default: "1+2" }] }), /variables\[0\]\.default "1\+2" is no product/],
  [step({ axis: 0 }), /steps\[1\]\.axis is not known here/],
  [step({ from: "a" }), /steps\[1\]\.from must be a list/],
  [step({ from: [] }), /steps\[1\]\.from has 0 items/],
  [step({ from: [""] }), /steps\[1\]\.from\[0\] must be a pattern/],
  [step({ from: ["a{b"] }), /steps\[1\]\.from\[0\] .* has a part "a\{b"/],
  [step({ from: ["{a}{b}"] }), /steps\[1\]\.from\[0\] .* has a part/],
  [step({ from: ["x{a...}"] }), /steps\[1\]\.from\[0\] .* has a part/],
  [step({ from: ["{a...}.{b...}"] }), /one capture of several parts only/],
  [step({ from: ["{a}.{a}"] }), /has a capture twice/],
  [step({ from: ["{a}.{b}.{c}.{d}.{e}.{f}.{g}.{h}.{i}"] }), /more than 8 captures/],
  [step({ from: ["a.{i}"] }), /steps\[1\]\.to lacks \{i\}, but nothing joins/],
  [step({ to: ["a.{i}"] }), /steps\[1\]\.to has \{i\}, but nothing is taken apart/],
  [step({ from: ["{i}.{j}"] }), /steps\[1\]\.from has more than one capture that to has not/],
  [step({ to: ["{i}.{j}"] }), /steps\[1\]\.to has more than one capture that from has not/],
  [step({ from: ["a.{i}", "b"] }), /steps\[1\]\.from\[1\] must have the same captures/],
  [step({ from: ["a", "b"] }), /steps\[1\]\.to names 1 tensors, but there are 2/],
  [step({ to: undefined, ops: [] }), /steps\[1\]\.to is missing/],
  [step({ optional: 1 }), /steps\[1\]\.optional must be true or false/],
  [op({ op: "melt" }), /steps\[1\]\.ops\[0\]\.op must be one of stack, /],
  [op({ op: "stack" }), /steps\[1\]\.ops\[0\]\.axis must be a whole number .*missing/],
  [op({ op: "stack", axis: "0" }), /steps\[1\]\.ops\[0\]\.axis must be a whole number/],
  [op({ op: "stack", axis: 64 }), /steps\[1\]\.ops\[0\]\.axis must be a whole number from -64 to 63/],
  [op({ op: "stack", axis: 0, heads: 1 }), /steps\[1\]\.ops\[0\]\.heads is not known here/],
  [op({ op: "stack", axis: 0, over: "i" }), /steps\[1\]\.ops\[0\]\.over is "i", of which there is no row/],
  [
    op({ op: "split", axis: 0, over: "i", count: 2 }),
    /steps\[1\]\.ops\[0\]\.over is "i", which is no capture/,
  ],
  [op({ op: "split", axis: 0, over: "i" }, { to: ["b.{i}"] }), /steps\[1\]\.ops\[0\]\.count is missing/],
  [op({ op: "split", axis: 0, sizes: [1, -1] }), /steps\[1\]\.ops\[0\]\.sizes cannot have -1/],
  [op({ op: "split", axis: 0, sizes: [1, 1], parts: 2 }), /steps\[1\]\.ops\[0\]\.parts cannot go with sizes/],
  [op({ op: "split", axis: 0 }, { from: ["a", "b"] }), /steps\[1\]\.ops\[0\] can take one tensor apart only/],
  [op({ op: "concat", axis: 0, sizes: [1, 1] }), /steps\[1\]\.ops\[0\]\.sizes has 2 sizes for 1 tensors/],
  [
    op({ op: "permuteRope", heads: "{n}" }),
    /steps\[1\]\.ops\[0\]\.heads uses \{n\}, which is not in variables/,
  ],
  [op({ op: "permuteRope", heads: "" }), /steps\[1\]\.ops\[0\]\.heads "" is no product/],
  [op({ op: "permuteRope", heads: -1 }), /steps\[1\]\.ops\[0\]\.heads must be a whole number from 0/],
  [op({ op: "transpose", on: [1] }), /steps\[1\]\.ops\[0\]\.on has 1, but there are 1 tensors/],
  [op({ op: "reshape", shape: [[1]] }), /steps\[1\]\.ops\[0\]\.shape\[0\] must be a whole number/],
];

describe("parseRecipe", () => {
  for (const [json, message] of REFUSED) {
    it(`refuses ${json.slice(0, 120)}`, () => {
      assert.throws(() => parseRecipe(json), raises("INVALID_RECIPE", message));
    });
  }

  it("refuses more than a megabyte, and bytes that are not UTF-8", () => {
    assert.throws(
      () => parseRecipe(" ".repeat(2 ** 20 + 1)),
      raises("INVALID_RECIPE", /more than 1048576 bytes/),
    );
    const bytes = new TextEncoder().encode(recipe({ name: "?" }));
    bytes[bytes.indexOf(0x3f)] = 0xff;
    assert.throws(() => parseRecipe(bytes), raises("INVALID_RECIPE"));
  });

  it("gives what the JSON says, whatever it is read from", () => {
    const whole = {
      version: 1,
      name: "n",
      description: "d",
      variables: [{ name: "n", description: "d", aliases: ["m"], default: 2 }],
      others: "error",
      steps: [
        {
          from: ["{l}.a.{i}"],
          to: ["{l}.b"],
          ops: [
            { op: "transpose", axes: [-1, 0], on: [0] },
            { op: "stack", axis: -1, over: "i", count: "{n} * 2" },
            { op: "slice", axis: 0, start: 1, stop: "{n}" },
          ],
          optional: true,
          share: false,
        },
        { from: ["x"] },
      ],
    } as const;
    const json = JSON.stringify(whole);
    for (const input of [json, new TextEncoder().encode(json), whole])
      assert.deepEqual(parseRecipe(input), whole);
  });
});
