/**
 * Functions of PyTorch that compute tensors from tensors and do nothing else: what modules have as attributes. Without
 * those that make tensors of a size that is a number, and those that call an argument.
 */
const NAMES: ReadonlySet<string> = new Set(
  `relu relu6 elu selu celu gelu silu mish glu leaky_relu prelu rrelu sigmoid logsigmoid log_sigmoid hardsigmoid tanh
  tanhshrink hardtanh hardswish hardshrink softshrink softplus softsign softmax softmin log_softmax gumbel_softmax threshold
  relu_ relu6_ elu_ selu_ celu_ gelu_ silu_ mish_ leaky_relu_ rrelu_ sigmoid_ hardsigmoid_ tanh_ hardtanh_ hardswish_
  threshold_ abs neg negative positive sign sgn exp exp2 expm1 log log10 log1p log2 sqrt rsqrt square reciprocal sin cos tan
  asin acos atan sinh cosh asinh acosh atanh sinc erf erfc erfinv logit lgamma digamma floor ceil round trunc frac clamp
  clamp_min clamp_max clip nan_to_num add sub subtract mul multiply div divide true_divide pow max min maximum minimum fmax
  fmin atan2 remainder fmod lerp where eq ne lt le gt ge logical_and logical_or logical_not logical_xor addcmul addcdiv sum
  mean prod std var median amax amin argmax argmin any all norm logsumexp cumsum cumprod matmul mm bmm mv dot inner addmm
  addmv addbmm baddbmm linear bilinear einsum cat concat stack flatten squeeze unsqueeze transpose permute reshape unbind
  narrow flip roll chunk split gather index_select masked_fill masked_select clone detach conv1d conv2d conv3d
  conv_transpose1d conv_transpose2d conv_transpose3d max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d
  adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
  batch_norm layer_norm group_norm instance_norm rms_norm local_response_norm normalize dropout dropout1d dropout2d dropout3d
  alpha_dropout feature_dropout feature_alpha_dropout embedding embedding_bag pad interpolate one_hot pixel_shuffle
  pixel_unshuffle channel_shuffle fold unfold grid_sample affine_grid scaled_dot_product_attention
  multi_head_attention_forward cosine_similarity pairwise_distance cdist l1_loss mse_loss smooth_l1_loss huber_loss
  cross_entropy cross_entropy_loss nll_loss binary_cross_entropy binary_cross_entropy_with_logits kl_div ctc_loss
  hinge_embedding_loss margin_ranking_loss cosine_embedding_loss triplet_margin_loss multi_margin_loss
  multilabel_margin_loss multilabel_soft_margin_loss soft_margin_loss poisson_nll_loss gaussian_nll_loss lstm gru rnn_tanh
  rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell`.split(/\s+/),
);

/** The modules that have them. */
const MODULES = /^torch\.(?:functional\.|nn\.functional\.|_C\._nn\.)?(\w+)$/;

/** Whether a name by itself is one of such functions: `relu`. */
export function isTensorFunctionName(name: string): boolean {
  return NAMES.has(name);
}

/** Whether a path is that of such a function: `torch.nn.functional.relu`. */
export function isTensorFunction(path: string): boolean {
  const [, name] = MODULES.exec(path) ?? [];
  return name !== undefined && NAMES.has(name);
}
