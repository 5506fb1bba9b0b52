import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { elementCount } from "../../src/dtype/dtype.ts";
import { applyRecipe } from "../../src/transform/apply.ts";
import { invertRecipe } from "../../src/transform/invert.ts";
import type { Operation } from "../../src/transform/operation.ts";
import type { RecipeStep } from "../../src/transform/recipe.ts";
import { Draw } from "../plan/model.ts";
import { checkpointOf, contentOf } from "./tensors.ts";

/** Operations that fit each other, drawn one after the other while the shape of the tensors is followed. */
class DrawnStep {
  readonly draw: Draw;
  readonly shape: readonly number[];
  readonly from: number;
  readonly members: number;
  readonly step: RecipeStep;
  #now: number[];
  #columns: number;
  #over: string | undefined;
  #count: number;
  #hasSpread = false;

  constructor(draw: Draw, name: string) {
    this.draw = draw;
    this.shape = Array.from({ length: draw.int(1, 3) }, () => draw.int(1, 2) * draw.int(1, 3));
    this.#now = [...this.shape];
    this.from = this.#columns = draw.int(1, 3);
    this.members = this.#count = draw.int(1, 3);
    this.#over = draw.flip() ? "expert" : undefined;
    if (!this.#over) this.members = this.#count = 1;
    const collected = this.#over ? ".{expert}" : "";
    const ops: Operation[] = [];
    for (let i = draw.int(0, 4); i > 0; i--) ops.push(...this.#operation());
    const row = this.#over ? `.{${this.#over}}` : "";
    this.step = {
      from: Array.from({ length: this.from }, (_, i) => `old.{layer}.${name}${i}${collected}`),
      to: Array.from({ length: this.#columns }, (_, i) => `new.{layer}.${name}${i}${row}`),
      ops,
    };
  }

  #operation(): Operation[] {
    const { draw } = this;
    const shape = this.#now;
    const axis = draw.int(0, shape.length - 1);
    const size = shape[axis]!;
    const parts = draw.pick([1, 2, 3].filter((count) => size % count === 0));
    switch (draw.int(0, 9)) {
      case 0: {
        const axes = shape.map((_, i) => (i + axis) % shape.length);
        this.#now = axes.map((i) => shape[i]!);
        return [{ op: "transpose", axes }];
      }
      case 1: {
        const to = draw.flip() ? [elementCount(shape)] : [size, elementCount(shape) / size];
        this.#now = to;
        return [{ op: "reshape", from: [...shape], shape: to }];
      }
      case 2:
        if (shape[0]! % 2 !== 0) return [];
        return [{ op: "permuteRope", heads: draw.pick([1, shape[0]! / 2]), inverse: draw.flip() }];
      case 3: {
        if (this.#over !== "expert") return [];
        this.#over = undefined;
        const count = this.#count;
        const isStack = draw.flip();
        this.#now = isStack ? shape.toSpliced(axis, 0, count) : shape.with(axis, size * count);
        if (isStack) return [{ op: "stack", over: "expert", axis }];
        return [{ op: "concat", over: "expert", axis, sizes: "equal", count }];
      }
      case 4: {
        const columns = this.#columns;
        this.#columns = 1;
        this.#now = shape.with(axis, size * columns);
        if (draw.flip()) return [{ op: "interleave", axis }];
        return [{ op: "concat", axis: axis - shape.length, sizes: "equal" }];
      }
      case 5: {
        const columns = this.#columns;
        this.#columns = 1;
        this.#now = shape.toSpliced(axis, 0, columns);
        return [{ op: "stack", axis }];
      }
      case 6:
      case 7: {
        if (this.#columns !== 1) return [];
        this.#columns = parts;
        this.#now = shape.with(axis, size / parts);
        const op = draw.pick(["split", "deinterleave"] as const);
        return [{ op, axis, parts }];
      }
      case 8: {
        if (this.#columns !== 1 || shape.length === 1 || size > 3) return [];
        this.#columns = size;
        this.#now = shape.toSpliced(axis, 1);
        return [{ op: "unstack", axis, parts: size }];
      }
      default: {
        if (this.#over !== undefined || this.#hasSpread) return [];
        this.#hasSpread = true;
        this.#over = "part";
        this.#count = parts;
        this.#now = shape.with(axis, size / parts);
        return [{ op: "split", over: "part", axis, count: parts }];
      }
    }
  }
}

describe("a recipe that is applied, and then in reverse", () => {
  it("gives what was there before", async () => {
    const seen = new Set<string>();
    for (let seed = 1; seed <= 60; seed++) {
      const draw = new Draw(seed);
      const steps = ["a", "b"].slice(0, draw.int(1, 2)).map((name) => new DrawnStep(draw, name));
      const shapes: Record<string, readonly number[]> = { kept: [3] };
      for (const [s, { step, members, shape }] of steps.entries()) {
        for (const text of step.from) {
          for (let layer = 0; layer < 1 + s; layer++) {
            for (let member = 0; member < members; member++) {
              shapes[text.replace("{layer}", `${layer}`).replace("{expert}", `${member}`)] = shape;
            }
          }
        }
        for (const { op } of step.ops ?? []) seen.add(op);
      }
      // Two bytes an element, and elements below a byte that do not begin on whole bytes.
      const isSmall = Object.values(shapes).every((shape) => elementCount(shape) % 2 === 0);
      const checkpoint = await checkpointOf(shapes, isSmall ? "F4" : "BF16");
      const recipe = { version: 1, steps: steps.map(({ step }) => step) } as const;
      const forth = applyRecipe(checkpoint, recipe);
      const back = applyRecipe(forth.tensors, invertRecipe(recipe));
      assert.deepEqual(await contentOf(back.tensors), await contentOf(checkpoint), JSON.stringify(recipe));
      assert.equal(forth.report.kept, 1);
    }
    assert.equal(seen.size, 9, [...seen].join());
  });
});
