import type { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { Checkpoint as Opened } from "../../src/checkpoint/checkpoint.ts";
import { openSafetensors } from "../../src/checkpoint/safetensors.ts";
import type { TensorHandle } from "../../src/checkpoint/tensor.ts";
import type { RankFile } from "../../src/parallel/merge-files.ts";
import { type ShareOptions, shareCheckpoint } from "../../src/parallel/share-checkpoint.ts";
import { save } from "../../src/save/save.ts";
import { memorySink } from "../../src/save/sink.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { tensorOf } from "./tensors.ts";

/** Tensors as a checkpoint. */
export function checkpointOf(
  tensors: readonly TensorHandle[],
  metadata: ReadonlyMap<string, string> = new Map([["format", "pt"]]),
): Checkpoint {
  const views = new Map(tensors.map(({ name, view }) => [name, view]));
  return new Opened({
    format: "safetensors",
    metadata,
    tensors: { size: views.size, names: () => views.keys(), find: (name) => views.get(name) },
  });
}

/** A checkpoint as a file, opened again. */
export async function asFile(
  tensors: Iterable<TensorHandle>,
  metadata: ReadonlyMap<string, string> = new Map(),
): Promise<Checkpoint> {
  const sink = memorySink();
  await save(
    sink,
    Array.from(tensors, (tensor) => [tensor.name, tensor] as const),
    { metadata },
  );
  return openSafetensors(fromBytes(sink.bytes()), {});
}

/** The files of all ranks. */
export async function filesOf(
  whole: Checkpoint,
  options: Omit<ShareOptions, "rank">,
  size: number,
): Promise<RankFile[]> {
  const files: RankFile[] = [];
  for (let rank = 0; rank < size; rank++) {
    const share = await shareCheckpoint(whole, { ...options, rank });
    files.push({ file: `rank-${rank}`, rank, checkpoint: await asFile(share, share.metadata) });
  }
  return files;
}

/** A small model with experts, whose key heads are fewer than its query heads. */
export const CONFIG = {
  model_type: "qwen3_moe",
  num_attention_heads: 8,
  num_key_value_heads: 2,
  head_dim: 2,
  num_hidden_layers: 3,
  num_experts: 4,
  vocab_size: 13,
  tie_word_embeddings: false,
} as const;

/** Its tensors; what a plan may not cut has other dtypes too. */
export function model(form: "apart" | "stacked" = "apart"): TensorHandle[] {
  const layer = (index: number): [string, number[]][] => {
    const at = `model.layers.${index}`;
    return [
      [`${at}.self_attn.q_proj.weight`, [16, 8]],
      [`${at}.self_attn.k_proj.weight`, [4, 8]],
      [`${at}.self_attn.v_proj.weight`, [4, 8]],
      [`${at}.self_attn.o_proj.weight`, [8, 16]],
      [`${at}.self_attn.q_norm.weight`, [2]],
      [`${at}.input_layernorm.weight`, [8]],
      [`${at}.mlp.gate.weight`, [4, 8]],
      ...(form === "apart"
        ? [0, 1, 2, 3].flatMap((expert): [string, number[]][] => [
            [`${at}.mlp.experts.${expert}.gate_proj.weight`, [8, 8]],
            [`${at}.mlp.experts.${expert}.up_proj.weight`, [8, 8]],
            [`${at}.mlp.experts.${expert}.down_proj.weight`, [8, 8]],
          ])
        : ([
            [`${at}.mlp.experts.gate_up_proj`, [4, 8, 16]],
            [`${at}.mlp.experts.down_proj`, [4, 8, 8]],
          ] as [string, number[]][])),
    ];
  };
  const shapes: [string, number[]][] = [
    ["model.embed_tokens.weight", [13, 8]],
    ...[0, 1, 2].flatMap(layer),
    ["model.norm.weight", [8]],
    ["lm_head.weight", [13, 8]],
  ];
  return shapes.map(([name, shape], seed) => tensorOf(name, shape, "BF16", seed + 1));
}
