import { readdirSync } from "node:fs";
import { openSafetensors } from "../../src/checkpoint/safetensors.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { fixture, fixturePath } from "../fixtures.ts";
import { casesOf } from "./fp8-cases.ts";

/** A stored tensor as it may be changed. */
export interface StoredTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

/** A checkpoint of the fixtures with the JSON files beside it. */
export interface FixtureCheckpoint {
  readonly title: string;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly configs: Readonly<Record<string, unknown>>;
  readonly metadata: ReadonlyMap<string, string>;
}

/** All quantised checkpoints of the fixtures, each as its original wrote it. */
export async function fixtureCheckpoints(): Promise<FixtureCheckpoint[]> {
  const found: FixtureCheckpoint[] = [];
  for (const folder of readdirSync(fixturePath("quant"), { withFileTypes: true })) {
    const inside = folder.isDirectory() ? readdirSync(fixturePath(`quant/${folder.name}`)) : [];
    const at = `quant/${folder.name}`;
    if (inside.includes("stored.safetensors")) {
      for (const { title, tensors, configs } of await casesOf(folder.name))
        found.push({ title: `${at} ${title}`, tensors, configs, metadata: new Map() });
    } else if (inside.includes("model.safetensors")) {
      const configs = { "config.json": json(`${at}/config.json`) };
      found.push({ title: at, configs, ...(await stored(`${at}/model.safetensors`)) });
    } else if (folder.name === "gptq" || folder.name === "awq") {
      for (const file of inside.filter((name) => name.endsWith(".safetensors"))) {
        const title = `${at}/${file.slice(0, -".safetensors".length)}`;
        const { config } = json(`${title}.json`) as { config: unknown };
        const configs = { "config.json": { quantization_config: config } };
        found.push({ title, configs, ...(await stored(`${at}/${file}`)) });
      }
    }
  }
  return found;
}

async function stored(file: string): Promise<Pick<FixtureCheckpoint, "tensors" | "metadata">> {
  const checkpoint = await openSafetensors(fromBytes(fixture(file)));
  const tensors = new Map<string, StoredTensor>();
  for (const { name, dtype, shape } of checkpoint)
    tensors.set(name, { dtype, shape, data: await checkpoint.get(name).bytes() });
  return { tensors, metadata: checkpoint.metadata };
}

function json(file: string): unknown {
  return JSON.parse(new TextDecoder().decode(fixture(file)));
}
