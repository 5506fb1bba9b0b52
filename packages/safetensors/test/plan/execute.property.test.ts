import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { SafetensorsError } from "../../src/errors.ts";
import { BufferPool } from "../../src/plan/buffer-pool.ts";
import { type ExecuteOptions, executePlan } from "../../src/plan/execute.ts";
import { needsBuffer, planReads, type ReadPlan } from "../../src/plan/plan.ts";
import type { ByteSource } from "../../src/source/source.ts";
import type { TensorView } from "../../src/view/tiling.ts";
import { byteLength } from "../../src/view/view.ts";
import { noise, raises } from "../support.ts";
import { Draw, drawView, ENOUGH_BYTES, packed } from "./model.ts";
import { KINDS, type TestSource, testSource } from "./sources.ts";

interface Scenario {
  readonly sources: readonly TestSource[];
  readonly views: readonly TensorView[];
  readonly plan: ReadPlan;
  readonly expected: readonly Uint8Array[];
}

const COSTS: readonly ByteSource["cost"][] = [
  undefined,
  { operation: 0, byte: 0 },
  { operation: 0, byte: 1 },
  { operation: 1e-9, byte: 1e-9 / 20 },
  { operation: 1, byte: 0 },
];

function drawScenario(draw: Draw): Scenario {
  const sources = Array.from({ length: draw.int(1, 4) }, (_, number) => {
    const size = ENOUGH_BYTES + draw.int(0, 500);
    // At an unaligned place of other memory.
    const bytes = noise(size + 8, number + 1)
      .subarray(draw.int(0, 7))
      .subarray(0, size);
    const kind = draw.pick(KINDS);
    const cost = draw.pick(COSTS);
    const source = testSource(bytes, kind, { name: `file-${number}`, cost, heedsSignal: draw.flip() });
    const delays = Array.from({ length: 8 }, () => draw.int(0, 4));
    source.delay = (number) => delays[number % 8]!;
    return source;
  });
  const views = Array.from({ length: draw.int(0, 5) }, () => drawView(draw, sources));
  const maxRead = draw.pick([undefined, 1, 7, 64, 300]);
  const expected = views.map((view) => packed(view, (source) => (source as TestSource).bytes));
  return { sources, views, plan: planReads(views, { maxRead }), expected };
}

const drawConcurrency = (draw: Draw): number | undefined => draw.pick([undefined, 1, 2, 3, 8]);

const nameOf = (tensor: number): string => `tensor-${tensor}`;

/** Calls back at every read, with its number in the plan, when it begins and when it ends. */
function onEachRead(
  { sources, plan }: Scenario,
  begins: (number: number) => void,
  ends: (number: number) => void = () => {},
): void {
  const reads = [...plan.reads()];
  let next = 0;
  for (const source of sources) {
    const numbers: number[] = [];
    source.onRead = ({ offset, length }, own) => {
      const planned = reads[next]!;
      assert.deepEqual(
        [source.name, offset, length],
        [planned.units.source.name, planned.offset, planned.length],
      );
      numbers[own] = next++;
      begins(numbers[own]!);
    };
    source.onEnd = (_, own) => ends(numbers[own]!);
  }
}

/** Nothing is under way, and nothing comes later. */
async function isOver({ sources }: Scenario, memory: readonly Uint8Array[] = []): Promise<void> {
  for (const { pending, name } of sources) assert.equal(pending, 0, `${name} has reads under way`);
  for (const bytes of memory) bytes.fill(0x55);
  const reads = sources.map(({ seen }) => seen.length);
  for (let turn = 0; turn < 6; turn++) await new Promise(setImmediate);
  for (const bytes of memory) assert.ok(bytes.every((byte) => byte === 0x55));
  assert.deepEqual(
    sources.map(({ seen }) => seen.length),
    reads,
  );
}

/** Checks many scenarios. A failure names the number to make its scenario from. */
async function forEachScenario(
  runs: number,
  check: (draw: Draw, scenario: Scenario) => Promise<void>,
): Promise<void> {
  const property = fc.asyncProperty(fc.nat(), async (seed) => {
    const draw = new Draw(seed);
    await check(draw, drawScenario(draw));
  });
  await fc.assert(property, { seed: 71, numRuns: runs, endOnFailure: true });
}

describe("executePlan, for any tensors, sources, costs and read sizes,", { timeout: 60_000 }, () => {
  it("delivers every element, reads what the plan says, and keeps to the budget", async () => {
    await forEachScenario(300, async (draw, scenario) => {
      const { sources, plan, expected, views } = scenario;
      const { peakMemory, usefulBytes } = plan.summary;
      const pool = new BufferPool(peakMemory + (draw.flip() ? 0 : draw.int(0, 2 * peakMemory)));
      const reads = [...plan.reads()];
      // The least that must be held: the tensors from their first read on, and what reads bring that are under way.
      let held = 0;
      const bufferOf = (number: number): number => (needsBuffer(reads[number]!) ? reads[number]!.length : 0);
      const check = (): void => {
        const { used, kept, budget } = pool;
        assert.ok(kept >= 0 && used >= held && used + kept <= budget, `${held} ${used} ${kept} ${budget}`);
      };
      onEachRead(
        scenario,
        (number) => {
          for (const tensor of reads[number]!.begins) held += byteLength(views[tensor]!);
          held += bufferOf(number);
          check();
        },
        (number) => {
          held -= bufferOf(number);
        },
      );
      const borrowed = draw.flip();
      const options = { pool, borrowed, concurrency: drawConcurrency(draw), nameOf };
      const delivered = new Map<number, Uint8Array>();
      for await (const { tensor, bytes } of executePlan(plan, options)) {
        assert.ok(!delivered.has(tensor), `tensor ${tensor} came twice`);
        assert.deepEqual(bytes, expected[tensor]);
        delivered.set(tensor, bytes);
        check();
        if (draw.flip()) await new Promise(setImmediate);
        check();
        held -= bytes.length;
        if (borrowed) bytes.fill(0x77);
      }
      assert.equal(delivered.size, views.length);
      assert.deepEqual([pool.used, held], [0, 0]);
      if (!borrowed) for (const [tensor, bytes] of delivered) assert.deepEqual(bytes, expected[tensor]);
      const seen = sources.map(({ seen, name }) => {
        return {
          source: name!,
          requests: seen.length,
          bytesRead: seen.reduce((sum, { length }) => sum + length, 0),
        };
      });
      const summaryOf = (name: string) => plan.summary.sources.find(({ source }) => source === name);
      for (const own of seen) {
        assert.deepEqual(summaryOf(own.source) ?? { ...own, requests: 0, bytesRead: 0 }, own);
      }
      assert.equal(
        plan.summary.requests,
        seen.reduce((sum, { requests }) => sum + requests, 0),
      );
      assert.equal(
        plan.summary.bytesRead,
        seen.reduce((sum, { bytesRead }) => sum + bytesRead, 0),
      );
      assert.equal(
        usefulBytes,
        expected.reduce((sum, { length }) => sum + length, 0),
      );
      await isOver(scenario, [...delivered.values()]);
    });
  });

  it("fills the memory it is given, and changes nothing else", async () => {
    await forEachScenario(300, async (draw, scenario) => {
      const { plan, expected, views, sources } = scenario;
      const before = sources.map(({ bytes }) => bytes.slice());
      const memory = views.map((view) => new Uint8Array(byteLength(view) + 24).fill(0xa5));
      const places = views.map(() => draw.int(8, 16));
      const asked: number[] = [];
      const targetOf = (tensor: number): Uint8Array => {
        asked.push(tensor);
        return memory[tensor]!.subarray(places[tensor], places[tensor]! + byteLength(views[tensor]!));
      };
      const pool = new BufferPool(plan.summary.bufferBytes + draw.int(0, 9000));
      const options: ExecuteOptions = { targetOf, pool, concurrency: drawConcurrency(draw) };
      for await (const { tensor, bytes } of executePlan(plan, options)) {
        assert.equal(bytes.buffer, memory[tensor]!.buffer);
        assert.deepEqual(bytes, expected[tensor]);
      }
      for (const [tensor, bytes] of memory.entries()) {
        const whole = new Uint8Array(bytes.length).fill(0xa5);
        whole.set(expected[tensor]!, places[tensor]);
        assert.deepEqual(bytes, whole);
      }
      assert.deepEqual(
        asked.sort((a, b) => a - b),
        [...views.keys()],
      );
      assert.deepEqual(
        sources.map(({ bytes }) => bytes),
        before,
      );
      assert.equal(pool.used, 0);
    });
  });

  it("says before it reads that a budget is too small, and how much it needs", async () => {
    await forEachScenario(300, async (_, scenario) => {
      const { plan, sources } = scenario;
      const { peakMemory } = plan.summary;
      if (peakMemory === 0) return;
      const run = executePlan(plan, { budget: peakMemory - 1 });
      const text = new RegExp(`budget of ${peakMemory - 1} bytes .* ${peakMemory} are needed`);
      await assert.rejects(run.next(), raises("LIMIT_EXCEEDED", text, { limit: "budget" }));
      assert.ok(sources.every(({ seen }) => seen.length === 0));
    });
  });

  it("fails with the name of a tensor when one read fails, and leaves nothing running", async () => {
    await forEachScenario(300, async (draw, scenario) => {
      const { plan, views } = scenario;
      const reads = [...plan.reads()];
      if (reads.length === 0) return;
      const bad = draw.int(0, reads.length - 1);
      const early = draw.flip();
      const own = draw.flip();
      const cause = own
        ? new SafetensorsError("SHORT_READ", "the end", { at: 77 })
        : new TypeError("the network");
      const fail = (number: number): void => {
        if (number === bad) throw cause;
      };
      onEachRead(scenario, early ? fail : () => {}, early ? () => {} : fail);
      const memory = views.map((view) => new Uint8Array(byteLength(view)));
      const options: ExecuteOptions = {
        nameOf,
        concurrency: drawConcurrency(draw),
        ...(draw.flip() && { targetOf: (tensor: number) => memory[tensor]! }),
      };
      const { units, firstUnit, offset, length } = reads[bad]!;
      const tensor = nameOf(units.tensor(firstUnit));
      const file = units.source.name!;
      const place = `\\(reading tensor "${tensor}", bytes ${offset} to ${offset + length} of ${file}\\)`;
      const details = { tensor, file, at: own ? 77 : offset, cause };
      await assert.rejects(
        async () => {
          for await (const { bytes } of executePlan(plan, options)) bytes.fill(0);
        },
        raises(own ? "SHORT_READ" : "IO", new RegExp(`${own ? "the end" : "the network"} ${place}`), details),
      );
      await isOver(scenario, memory);
    });
  });

  it("ends when the caller stops, and leaves nothing running", async () => {
    await forEachScenario(300, async (draw, scenario) => {
      const { plan, views } = scenario;
      const memory = views.map((view) => new Uint8Array(byteLength(view)));
      const wanted = draw.int(0, views.length);
      const options = { targetOf: (tensor: number) => memory[tensor]!, concurrency: drawConcurrency(draw) };
      const run = executePlan(plan, options);
      for (let count = 0; count < wanted; count++) assert.equal((await run.next()).done, false);
      await run.return();
      assert.deepEqual(await run.next(), { done: true, value: undefined });
      await isOver(scenario, memory);
    });
  });

  it("ends when the signal says so, with its reason, and leaves nothing running", async () => {
    await forEachScenario(300, async (draw, scenario) => {
      const { plan, views } = scenario;
      const memory = views.map((view) => new Uint8Array(byteLength(view)));
      const controller = new AbortController();
      const reason = new Error("enough");
      const at = draw.int(0, Math.max(plan.summary.requests - 1, 0));
      let begun = 0;
      onEachRead(scenario, (number) => {
        begun++;
        if (number === at) controller.abort(reason);
      });
      const options: ExecuteOptions = {
        targetOf: (tensor) => memory[tensor]!,
        concurrency: drawConcurrency(draw),
        signal: controller.signal,
        nameOf,
      };
      const read = async (): Promise<void> => {
        for await (const _ of executePlan(plan, options));
      };
      if (plan.summary.requests === 0) return read();
      await assert.rejects(read, (error) => error === reason);
      assert.equal(begun, at + 1, "a read began after the abort");
      await isOver(scenario, memory);
    });
  });
});
