import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SafetensorsError } from "../../src/errors.ts";
import { applyRecipe } from "../../src/transform/apply.ts";
import { invertRecipe } from "../../src/transform/invert.ts";
import { RECIPES } from "../../src/transform/named.ts";
import { parseRecipe, type Recipe } from "../../src/transform/recipe.ts";
import { Draw } from "../plan/model.ts";
import { checkpointOf } from "./tensors.ts";

const EVERYTHING: Recipe = {
  version: 1,
  variables: [{ name: "n", default: 2 }],
  steps: [
    {
      from: ["{l}.a.{i}", "{l}.b.{i}"],
      to: ["{l}.c", "{l}.d"],
      ops: [
        { op: "transpose", axes: [1, 0], on: [0] },
        { op: "permuteRope", heads: "{n}", on: [1] },
        { op: "stack", over: "i", axis: 0, count: "{n}" },
        { op: "concat", axis: -1, sizes: "equal" },
        { op: "reshape", shape: [2, -1, 4], from: [2, 4, -1] },
        { op: "interleave", axis: 0 },
        { op: "deinterleave", axis: 1 },
      ],
    },
    {
      from: ["{rest...}.x"],
      to: ["{rest...}.x.{part}"],
      ops: [{ op: "split", over: "part", axis: 0, count: 2 }],
    },
    { from: ["y"], optional: true },
  ],
};

/** What a mutation puts into the JSON. */
const BITS = [
  '"',
  "{",
  "}",
  "[",
  "]",
  ",",
  ":",
  "-1",
  "0",
  "99999999999",
  "1e9",
  "null",
  "{l}",
  "...",
  "*",
  "\\",
  "\u0000",
];

describe("recipes that have been tampered with", () => {
  it("work, or are refused as such, and nothing else", async () => {
    const shapes = { "0.a.0": [4, 4], "0.a.1": [4, 4], "0.b.0": [4, 4], "0.b.1": [4, 4], "z.x": [4], y: [1] };
    const checkpoint = await checkpointOf(shapes);
    const recipes = [EVERYTHING, ...RECIPES.values()].map((recipe) => JSON.stringify(recipe));
    applyRecipe(checkpoint, EVERYTHING);
    const outcomes = { applied: 0, inverted: 0, refused: 0 };
    const attempt = (outcome: "applied" | "inverted", act: () => unknown): void => {
      try {
        act();
        outcomes[outcome]++;
      } catch (error) {
        assert.ok(error instanceof SafetensorsError, String(error));
        outcomes.refused++;
      }
    };
    for (let seed = 1; seed <= 400; seed++) {
      const draw = new Draw(seed);
      let json = seed % 3 === 0 ? draw.pick(recipes) : recipes[0]!;
      for (let i = draw.int(1, 3); i > 0; i--) {
        const at = draw.int(0, json.length);
        json = json.slice(0, at) + (draw.flip() ? draw.pick(BITS) : "") + json.slice(at + draw.int(0, 3));
      }
      let recipe: Recipe;
      try {
        recipe = parseRecipe(json);
      } catch (error) {
        assert.ok(
          error instanceof SafetensorsError && error.code === "INVALID_RECIPE",
          `${String(error)}: ${json}`,
        );
        continue;
      }
      attempt("applied", () => applyRecipe(checkpoint, recipe));
      attempt("inverted", () => invertRecipe(recipe));
    }
    assert.ok(
      Object.values(outcomes).every((count) => count > 5),
      JSON.stringify(outcomes),
    );
  });
});
