import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { openSafetensors } from "../../src/checkpoint/safetensors.ts";
import type { WorldOptions } from "../../src/parallel/division.ts";
import { readShare } from "../../src/parallel/read-share.ts";
import { rankShare } from "../../src/parallel/share.ts";
import { shareCheckpoint } from "../../src/parallel/share-checkpoint.ts";
import { save } from "../../src/save/save.ts";
import { memorySink } from "../../src/save/sink.ts";
import { saveStream } from "../../src/save/stream.ts";
import { fromBytes } from "../../src/source/memory.ts";
import type { ByteSource } from "../../src/source/source.ts";
import { concat, raises } from "../support.ts";
import { CONFIG, checkpointOf, model } from "./ranks.ts";

const options: WorldOptions & { rank: number } = { config: CONFIG, world: { tp: 2, pp: 3 }, rank: 3 };
const whole = checkpointOf(model());

/** The checkpoint in a file whose reads are counted. */
async function counted(): Promise<{ source: ByteSource; reads: () => number }> {
  const sink = memorySink();
  await save(
    sink,
    Array.from(whole, (tensor) => [tensor.name, tensor] as const),
  );
  const memory = fromBytes(sink.bytes());
  let reads = 0;
  const source: ByteSource = {
    size: memory.size,
    read: async (start, length) => {
      reads++;
      return (await memory.read(start, length)).slice();
    },
  };
  return { source, reads: () => reads };
}

describe("the share of a rank", () => {
  it("is read with few reads, as many bytes as it has", async () => {
    const { source, reads } = await counted();
    const checkpoint = await openSafetensors(source, {});
    const before = reads();
    const expected = new Map(rankShare(options, whole).map(({ name, handle }) => [name, handle]));
    let [count, bytes] = [0, 0];
    for await (const tensor of readShare(checkpoint, options)) {
      const handle = expected.get(tensor.name)!;
      assert.deepEqual(tensor.shape, handle.shape);
      assert.deepEqual(tensor.bytes, await handle.bytes(), tensor.name);
      count++;
      bytes += tensor.bytes.length;
    }
    assert.equal(count, expected.size);
    assert.equal(
      bytes,
      [...expected.values()].reduce((sum, { byteLength }) => sum + byteLength, 0),
    );
    assert.ok(reads() - before <= 2, `${reads() - before} reads`);
    const plan = await (await shareCheckpoint(checkpoint, { ...options, sample: false })).plan();
    assert.equal(plan.usefulBytes, bytes);
    assert.equal(plan.requests, reads() - before);
  });

  it("may be read in part, inside a budget, into memory of the caller", async () => {
    const { source } = await counted();
    const checkpoint = await openSafetensors(source, {});
    const names = /q_proj|o_proj/;
    const places = new Map<string, Uint8Array>();
    const into = (tensor: { readonly name: string; readonly byteLength: number }): Uint8Array => {
      const memory = new Uint8Array(tensor.byteLength);
      places.set(tensor.name, memory);
      return memory;
    };
    const seen: string[] = [];
    for await (const { name, bytes } of readShare(checkpoint, { ...options, names, into, budget: 1 << 16 })) {
      assert.equal(places.get(name)!.buffer, bytes.buffer);
      seen.push(name);
    }
    assert.deepEqual(seen.sort(), [
      "model.layers.1.self_attn.o_proj.weight",
      "model.layers.1.self_attn.q_proj.weight",
    ]);
    const tooSmall = readShare(checkpoint, { ...options, budget: 1 });
    await assert.rejects(tooSmall.next(), raises("LIMIT_EXCEEDED"));
    const missing = readShare(checkpoint, { ...options, names: ["x"] });
    await assert.rejects(missing.next(), raises("TENSOR_NOT_FOUND"));
  });

  it("stops when its reader has enough, or its signal says so", async () => {
    const { source } = await counted();
    const checkpoint = await openSafetensors(source, {});
    for await (const tensor of readShare(checkpoint, options)) {
      assert.ok(tensor.bytes.length > 0);
      break;
    }
    const signal = AbortSignal.abort(new Error("enough"));
    await assert.rejects(readShare(checkpoint, { ...options, signal }).next(), /enough/);
  });

  it("is taken as it is by all that saves", async () => {
    const share = rankShare(options, whole);
    const inputs = share.map(({ name, handle }) => [name, handle] as const);
    const sink = memorySink();
    await save(sink, inputs);
    const { stream, byteLength } = saveStream(inputs);
    const streamed: Uint8Array[] = [];
    for await (const piece of stream as unknown as AsyncIterable<Uint8Array>) streamed.push(piece);
    assert.deepEqual(concat(streamed), Uint8Array.from(sink.bytes()));
    assert.equal(byteLength, sink.bytes().length);
    const again = await openSafetensors(fromBytes(sink.bytes()), {});
    for (const { name, handle } of share)
      assert.deepEqual(await again.get(name).bytes(), await handle.bytes());
  });
});
