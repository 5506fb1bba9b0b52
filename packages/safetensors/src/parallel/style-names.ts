/** What a style does to the tensors of a module. */
export type StyleRule =
  /** Linear: the outputs, of the bias too. Embedding: the second axis. */
  | "columns"
  /** Linear: the inputs; the bias stays whole. Embedding: the first axis. */
  | "rows"
  /**
   * As `columns` and `rows` for two matrices in one, each cut on its own; a tensor of one dimension is cut plainly
   * or stays whole.
   */
  | "packed columns"
  | "packed rows"
  | "first axis"
  | "second axis"
  /** The first axis, which has the experts, and must divide. */
  | "experts"
  | "whole";

/** The names of styles in plans of transformers, old ones and those of 5.24. */
export type StyleName =
  | "colwise"
  | "colwise_gather_output"
  | "colwise_rep"
  | "local_colwise"
  | "rowwise"
  | "rowwise_split_input"
  | "rowwise_rep"
  | "local_rowwise"
  | "packed_colwise"
  | "local_packed_colwise"
  | "packed_rowwise"
  | "local_packed_rowwise"
  | "embedding_rowwise"
  | "embedding_colwise"
  | "grouped_gemm"
  | "sequence_parallel"
  | "replicate"
  | "none"
  | "replicated_with_grad_allreduce"
  | "mla_kv_a_proj"
  | "all_reduce"
  | "gather"
  | "local"
  | "isolated"
  | "local_params"
  | "moe_tp_experts"
  | "moe_identity_expert"
  | "ep_router"
  | "megamoe_router"
  | "ep_dispatch_experts";

const NAMES: Readonly<Record<StyleName, StyleRule>> = {
  colwise: "columns",
  colwise_gather_output: "columns",
  colwise_rep: "columns",
  local_colwise: "columns",
  rowwise: "rows",
  rowwise_split_input: "rows",
  rowwise_rep: "rows",
  local_rowwise: "rows",
  packed_colwise: "packed columns",
  local_packed_colwise: "packed columns",
  packed_rowwise: "packed rows",
  local_packed_rowwise: "packed rows",
  embedding_rowwise: "first axis",
  embedding_colwise: "second axis",
  grouped_gemm: "experts",
  // What these divide is not stored: activations, gradients, the experts a token is sent to.
  sequence_parallel: "whole",
  replicate: "whole",
  none: "whole",
  replicated_with_grad_allreduce: "whole",
  mla_kv_a_proj: "whole",
  all_reduce: "whole",
  gather: "whole",
  local: "whole",
  isolated: "whole",
  local_params: "whole",
  moe_tp_experts: "whole",
  moe_identity_expert: "whole",
  ep_router: "whole",
  megamoe_router: "whole",
  ep_dispatch_experts: "whole",
};

/** What each of them means for a tensor. */
export const STYLE_NAMES: ReadonlyMap<string, StyleRule> = new Map(Object.entries(NAMES));
