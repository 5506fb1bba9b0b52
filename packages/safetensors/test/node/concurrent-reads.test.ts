import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { TensorHandle } from "../../src/checkpoint/tensor.ts";
import { openPath } from "../../src/node/open-path.ts";
import { range } from "../../src/view/index-items.ts";
import { handMade, noise, numbers, temporaryFolder } from "../support.ts";

/** Two files of 100 tensors each: matrices of 64 columns whose rows differ in number. */
const COLUMNS = 64;
const names = Array.from({ length: 200 }, (_, i) => `layer.${i}`);
const rowsOf = (i: number): number => 8 + ((i * 37) % 500);
const data = names.map((_, i) => noise(rowsOf(i) * COLUMNS, i + 1));

const folder = join(temporaryFolder(), "model");
mkdirSync(folder);
for (const shard of [0, 1]) {
  const own = names.map(
    (name, i) => [name, { dtype: "U8", shape: [rowsOf(i), COLUMNS], data: data[i]! }] as const,
  );
  const content = handMade(Object.fromEntries(own.filter((_, i) => i % 2 === shard)));
  writeFileSync(join(folder, `model-0000${shard + 1}-of-00002.safetensors`), content);
}

/** One way to read: what it gives, and what that must be. */
interface Way {
  readonly read: (tensor: TensorHandle, signal: AbortSignal | undefined) => Promise<Uint8Array>;
  readonly expected: (i: number) => Uint8Array;
}

/** The columns from 3 to 40, every second one. */
const columns = (i: number): Uint8Array =>
  data[i]!.filter((_, at) => at % COLUMNS >= 3 && at % COLUMNS < 40 && (at % COLUMNS) % 2 === 1);

const WAYS: readonly Way[] = [
  { read: (tensor, signal) => tensor.bytes({ signal }), expected: (i) => data[i]! },
  {
    read: (tensor, signal) => tensor.slice(range(2, 7)).bytes({ signal }),
    expected: (i) => data[i]!.slice(2 * COLUMNS, 7 * COLUMNS),
  },
  { read: (tensor, signal) => tensor.slice(null, range(3, 40, 2)).bytes({ signal }), expected: columns },
  {
    async read(tensor, signal) {
      const whole = new Uint8Array(tensor.byteLength);
      let done = 0;
      for await (const chunk of tensor.chunks(new Uint8Array(1000), { signal })) {
        whole.set(chunk, done);
        done += chunk.length;
      }
      return whole;
    },
    expected: (i) => data[i]!,
  },
];

for (const blocking of [false, true]) {
  describe(`a thousand reads at once, with blocking ${blocking}`, () => {
    it("are whole and right, and those that are given up disturb no other", async () => {
      await using checkpoint = await openPath(folder, { blocking });
      const next = numbers(7);
      const enough = new Error("enough");
      let givenUp = 0;
      await Promise.all(
        Array.from({ length: 1000 }, async (_, count) => {
          const i = next() % names.length;
          const { read, expected } = WAYS[count % WAYS.length]!;
          const controller = count % 3 === 0 ? new AbortController() : undefined;
          const reading = read(checkpoint.get(names[i]!), controller?.signal);
          const outcome = reading.then(
            (bytes) => assert.deepEqual(bytes, expected(i), `read ${count} of ${names[i]}`),
            (error: unknown) => {
              assert.ok(controller?.signal.aborted, `read ${count} failed: ${String(error)}`);
              assert.equal(error, enough);
              givenUp++;
            },
          );
          // Some at once, some under way; a few are done before that.
          if (controller && count % 2 === 0) controller.abort(enough);
          else if (controller) setTimeout(() => controller.abort(enough), next() % 40);
          await outcome;
        }),
      );
      // What blocks may be complete before it can be given up.
      if (!blocking) assert.ok(givenUp >= 50, `${givenUp} were given up`);
    });

    it("are whole and right through fifty runs of twenty tensors, some of which are given up", async () => {
      await using checkpoint = await openPath(folder, { blocking });
      let complete = 0;
      await Promise.all(
        Array.from({ length: 50 }, async (_, run) => {
          const own = names.filter((_, i) => (i * 7 + run) % 10 === 0);
          assert.equal(own.length, 20);
          const slices = new Map(
            run % 4 === 1 ? own.map((name) => [name, [null, range(3, 40, 2)]] as const) : [],
          );
          // Some budgets hold one tensor and its read, some all of them.
          const budget = run % 2 === 0 ? 80_000 : undefined;
          const seen = new Set<string>();
          for await (const tensor of checkpoint.read({
            names: own,
            slices,
            budget,
            borrowed: run % 3 === 0,
          })) {
            const i = names.indexOf(tensor.name);
            const expected = slices.size > 0 ? columns(i) : data[i]!;
            // Other runs go on meanwhile, and must leave this one's memory alone.
            await new Promise(setImmediate);
            assert.deepEqual(tensor.bytes, expected, `${tensor.name} of run ${run}`);
            seen.add(tensor.name);
            if (run % 5 === 4 && seen.size === 10) return;
          }
          assert.deepEqual([...seen].sort(), [...own].sort());
          complete++;
        }),
      );
      assert.equal(complete, 40);
    });
  });
}
