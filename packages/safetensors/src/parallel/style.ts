import { quote, SafetensorsError } from "../errors.ts";
import { type AxisCut, type Cut, WHOLE } from "../view/cut.ts";
import {
  chunk,
  chunkBlocks,
  chunkFusedHeads,
  chunkHeads,
  chunkKeyValueHeads,
  chunkUnits,
  chunkVocabulary,
  type FusedHeads,
  type Heads,
  type RankOf,
  type UnevenRule,
} from "./axis.ts";
import { isBiasName, lastModuleOf } from "./names.ts";
import { checkRank, problem } from "./problem.ts";
import { STYLE_NAMES, type StyleName, type StyleRule } from "./style-names.ts";

/**
 * How a tensor is cut, where the styles of transformers cannot say it. `along` says which side of the layer is
 * divided: its outputs (the bias is cut too) or its inputs (the bias stays whole). Weights are `[…, out, in]`,
 * unless `transposed` says `[…, in, out]` (Conv1D of GPT-2, the experts of gpt-oss).
 */
export type DetailedStyle = { readonly along: "out" | "in"; readonly transposed?: boolean } & (
  | { readonly kind: "plain" }
  /** Several matrices in one, of equal sizes or in these ratios; each is cut on its own. */
  | { readonly kind: "blocks"; readonly blocks: number | readonly number[] }
  /** Units of so many indices that stay together: 2 for gate and up rows that take turns. */
  | { readonly kind: "units"; readonly unit: number }
  | ({ readonly kind: "heads" } & Heads)
  /** As `heads`, but ranks share one where there are more ranks. */
  | ({ readonly kind: "key_value_heads" } & Heads)
  | ({ readonly kind: "fused_heads" } & FusedHeads)
  /** Rows for tokens; with `multiple` padded with zeros to one of it first. */
  | { readonly kind: "vocabulary"; readonly multiple?: number }
);

/** One of the names that transformers' plans use, or a style of ours. */
export type Style = StyleName | DetailedStyle;

/** Which rank it is, and what transformers finds out from the model. */
export interface ShardOptions extends RankOf {
  /** `chunk` if not given. */
  readonly uneven?: UnevenRule;
  /**
   * Last names of modules that are embeddings, where the styles `colwise` and `rowwise` mean other axes than in
   * linear layers (transformers looks at the class; its newer plans have styles of their own for them).
   * `EMBEDDINGS` if not given.
   */
  readonly embeddings?: readonly string[];
}

/** Names of `nn.Embedding` modules in the models of transformers. */
export const EMBEDDINGS: readonly string[] = [
  "embed_tokens",
  "embed_positions",
  "embed_in",
  "tok_embeddings",
  "word_embeddings",
  "position_embeddings",
  "token_type_embeddings",
  "shared",
  "wte",
  "wpe",
];

/**
 * What a rank has of a tensor by a style. All ranks together have the whole tensor, some of it perhaps several
 * times.
 *
 * @throws `INVALID_SLICE` for an unknown style (all known ones are listed), and for sizes that cannot be cut so
 */
export function shardTensor(
  name: string,
  shape: readonly number[],
  style: Style,
  options: ShardOptions,
): Cut {
  checkRank(options.rank, options.world);
  // A number, such as the scale of a whole tensor, has no axis.
  if (shape.length === 0) return WHOLE;
  try {
    const cut =
      typeof style === "string"
        ? namedCut(name, shape, styleRule(style), options)
        : detailedCut(name, shape, style, options);
    return cut ? [cut] : WHOLE;
  } catch (error) {
    if (!(error instanceof SafetensorsError)) throw error;
    const shown = typeof style === "string" ? style : style.kind;
    const text = `tensor ${quote(name)} of shape [${shape}], style ${quote(shown)}: ${error.reason}`;
    throw new SafetensorsError(error.code, text, { tensor: name });
  }
}

/** What a name of a style means. `INVALID_SLICE` for one that is not known. */
export function styleRule(style: string): StyleRule {
  const rule = STYLE_NAMES.get(style);
  if (rule !== undefined) return rule;
  throw problem(`${quote(style)} is no style; known are ${[...STYLE_NAMES.keys()].join(", ")}`);
}

/** The styles as transformers applies them. */
function namedCut(
  name: string,
  shape: readonly number[],
  rule: StyleRule,
  options: ShardOptions,
): AxisCut | undefined {
  const { uneven = "chunk", embeddings = EMBEDDINGS } = options;
  const last = shape.length - 1;
  const output = Math.max(0, last - 1);
  const isEmbedding = shape.length === 2 && embeddings.includes(lastModuleOf(name));
  const along = (axis: number, rule = uneven): AxisCut => ({
    axis,
    ranges: [chunk(shape[axis]!, options, rule)],
  });
  const packed = (axis: number): AxisCut => {
    return { axis, ranges: chunkBlocks(shape[axis]!, 2, options, uneven) };
  };
  switch (rule) {
    case "whole":
      return undefined;
    case "columns":
      return along(isEmbedding ? 1 : output);
    case "rows":
      if (isEmbedding) return along(0);
      return name === "bias" || name.endsWith(".bias") ? undefined : along(last);
    case "packed columns":
      return last === 0 ? along(0) : packed(output);
    case "packed rows":
      return last === 0 ? undefined : packed(last);
    case "first axis":
      return along(0);
    case "second axis":
      if (last === 0) throw problem("it has no second axis");
      return along(1);
    case "experts":
      return along(0, "strict");
  }
}

function detailedCut(
  name: string,
  shape: readonly number[],
  style: DetailedStyle,
  options: ShardOptions,
): AxisCut | undefined {
  const { along, transposed = false } = style;
  const isBias = shape.length === 1 || isBiasName(name);
  if (isBias && along === "in") return undefined;
  const isLast = isBias || (along === "out") === transposed;
  const axis = shape.length - (isLast ? 1 : 2);
  const { uneven = "chunk" } = options;
  const size = shape[axis]!;
  switch (style.kind) {
    case "plain":
      return { axis, ranges: [chunk(size, options, uneven)] };
    case "blocks":
      return { axis, ranges: chunkBlocks(size, style.blocks, options, uneven) };
    case "units":
      return { axis, ranges: [chunkUnits(size, style.unit, options, uneven)] };
    case "heads":
      return { axis, ranges: [chunkHeads(size, style, options)] };
    case "key_value_heads":
      return { axis, ranges: [chunkKeyValueHeads(size, style, options)] };
    case "fused_heads":
      return { axis, ranges: chunkFusedHeads(size, style, options) };
    case "vocabulary": {
      if (style.multiple === undefined) return { axis, ranges: [chunk(size, options, uneven)] };
      const { range, padding } = chunkVocabulary(size, style.multiple, options);
      return { axis, ranges: [range], padding };
    }
  }
}
