import type { CutRule } from "./cuts.ts";

/**
 * How DeepSeek's `inference/convert.py` cuts tensors for `model{rank}-mp{n}.safetensors`, by the part of their names
 * before the last: in deepseek-ai/DeepSeek-V3, and in DeepSeek-V3.2-Exp, whose `indexer` is whole in every rank though
 * it has a `wq_b` too. A `scale` is cut as its `weight`.
 */
const V3: ReadonlyMap<string, CutRule> = new Map<string, CutRule>([
  ["embed", 0],
  ["wq", 0],
  ["wq_b", 0],
  ["wkv_b", 0],
  ["wo", 1],
  ["w1", 0],
  ["w2", 1],
  ["w3", 0],
  ["head", 0],
  ["attn_norm", "replicated"],
  ["ffn_norm", "replicated"],
  ["norm", "replicated"],
  ["q_norm", "replicated"],
  ["kv_norm", "replicated"],
  ["wq_a", "replicated"],
  ["wkv_a", "replicated"],
  ["gate", "replicated"],
]);

/**
 * The same for DeepSeek-V4, as copies of its script have it: neither shared experts nor dense layers are cut. What is not
 * here has no rule, so that it must be the same in all ranks.
 */
const V4: ReadonlyMap<string, CutRule> = new Map<string, CutRule>([
  ["embed", 0],
  ["wq_b", 0],
  ["wo_a", 0],
  ["wo_b", 1],
  ["head", 0],
  ["weights_proj", 0],
]);

/** Which rules DeepSeek's files were made with, by the names of their tensors. */
export function deepseekRules(names: Iterable<string>): (name: string) => CutRule | undefined {
  for (const name of names) if (/\.(attn_sink|wo_a\.weight)$/.test(name)) return v4Rule;
  return v3Rule;
}

/** Whether a tensor belongs to an expert that lies in one rank only. */
export function isRoutedExpert(name: string): boolean {
  return /(^|\.)experts\.\d+\./.test(name);
}

function v3Rule(name: string): CutRule | undefined {
  const parts = name.split(".");
  if (isRoutedExpert(name)) return undefined;
  return parts.includes("indexer") ? "replicated" : V3.get(parts.at(-2) ?? "");
}

function v4Rule(name: string): CutRule | undefined {
  const parts = name.split(".");
  if (parts.at(-1) === "attn_sink") return 0;
  // The last rank's part of an n-gram table is filled up with rows that are not the table's.
  if (isRoutedExpert(name) || parts.includes("engram")) return undefined;
  return V4.get(parts.at(-2) ?? "");
}
