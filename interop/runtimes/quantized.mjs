import { open, openUrl } from "safetensors.js";
import { castFloats } from "safetensors.js/dtype";
import { dequantized, findQuantized, loadKernels, plainKernels } from "safetensors.js/quant";
import { awqCodes, awqLimits, awqScales, gptq, quantizerOf } from "safetensors.js/quantize";
import { castTensor, memorySink, save } from "safetensors.js/save";
import { download, sha256 } from "./describe.mjs";
import { denseWeights } from "./quantized-fixtures.mjs";

/** Cases of GPTQ of which fixtures/quant/calibrated.safetensors has the codes. */
export const GPTQ_CASES = {
  plain: { bits: 4, group: 32, symmetric: true, actOrder: false },
  order: { bits: 3, group: 16, symmetric: false, actOrder: true },
  static: { bits: 4, group: 32, symmetric: false, actOrder: true, staticGroups: true },
  channel: { bits: 2, group: -1, symmetric: true, actOrder: true },
};

/** What is compared of each, and of AWQ. */
export const GPTQ_PARTS = ["codes", "scales", "zeros"];
export const AWQ_PARTS = ["scale", "limits", "codes", "scales", "zeros"];

const CASTS = [
  ["F32", "F16"],
  ["F32", "BF16"],
  ["F32", "F8_E4M3"],
  ["F16", "BF16"],
  ["BF16", "F32"],
  ["F8_E5M2", "F16"],
];

/** Checks of quantised weights, for every runtime. */
export const quantized = {
  /** Each runtime here has WebAssembly with SIMD; a page may forbid it. */
  async "backend of the kernels"() {
    return (await loadKernels()).backend;
  },

  async "dense weights"(context) {
    return (await denseWeights(context)).exact;
  },

  async "dense weights, plain kernels"(context) {
    return (await denseWeights(context, { kernels: plainKernels })).exact;
  },

  /** Those for which the original rounds otherwise: the same everywhere, by either kind of kernels. */
  async "dense weights, ours"(context) {
    const { ours } = await denseWeights(context);
    const plain = (await denseWeights(context, { kernels: plainKernels })).ours;
    if (JSON.stringify(ours) !== JSON.stringify(plain)) throw new Error("the plain kernels give others");
    return ours;
  },

  /** Asks for the parts of one layer of a model, and for no other. */
  async "one layer from a URL"({ url }) {
    const { checkpoint, quantization } = await openModel(url);
    const before = await sentOf(url);
    const tensor = dequantized(checkpoint, quantization).get("model.layers.5.mlp.down_proj.weight");
    const values = await tensor.toFloat32();
    return [
      tensor.dtype,
      [...tensor.shape],
      values.length,
      await sha256(values),
      (await sentOf(url)) - before,
    ];
  },

  async "weights quantised"({ url }) {
    const cases = await json(`${url}quant/make/expected.json`);
    const weights = new Map();
    for (const name of ["float32", "bfloat16", "float16"]) {
      const tensor = (await open(await download(`${url}quant/make/${name}.safetensors`))).get(name);
      weights.set(name, [await tensor.toFloat32(), tensor.shape, tensor.dtype]);
    }
    const found = [];
    for (const { scheme, options, digests } of cases) {
      const quantizer = quantizerOf(scheme, options);
      const made = {};
      for (const name of Object.keys(digests)) {
        made[name] = await digestOfParts(quantizer.quantize(...weights.get(name)));
      }
      found.push([scheme, made]);
    }
    return found;
  },

  async "GPTQ and AWQ"({ url }) {
    const given = await open(await download(`${url}quant/calibrated.safetensors`));
    const data = (name) => given.get(name).data();
    const [weight, hessian, absMean] = [await data("weight"), await data("xtx"), await data("absmean")];
    const found = {};
    for (const [name, options] of Object.entries(GPTQ_CASES)) {
      const solved = gptq({ weight, hessian, columns: 64, ...options });
      for (const part of GPTQ_PARTS) found[`${name}.${part}`] = await sha256(solved[part]);
    }
    const format = { bits: 4, group: 32, symmetric: false };
    const { scale } = awqScales({ weights: [weight], hessian, absMean, ...format });
    const limits = awqLimits(weight, scale, hessian, format);
    const parts = { scale, limits, ...awqCodes(weight, scale, format, limits) };
    for (const part of AWQ_PARTS) found[`awq.${part}`] = await sha256(parts[part]);
    return found;
  },

  /** Some are odd: NaN with any bits, infinities, zeros, subnormals. */
  async "save with a cast"() {
    const found = [];
    for (const [from, to] of CASTS) {
      const bytes = anyBytes(100_000);
      const sink = memorySink();
      const shape = [bytes.length / { F32: 4, F16: 2, BF16: 2, F8_E5M2: 1 }[from]];
      await save(sink, { w: { dtype: from, shape, data: bytes } });
      const tensor = (await open(sink.bytes())).get("w");
      const saved = memorySink();
      await save(saved, { w: castTensor(tensor, to) });
      const cast = await (await open(saved.bytes())).get("w").bytes();
      const [hash, plain] = [await sha256(cast), await sha256(castFloats(from, to, bytes))];
      if (hash !== plain) throw new Error(`${from} is saved as ${to} otherwise than castFloats makes it`);
      found.push([from, to, hash]);
    }
    return found;
  },
};

/** The quantised model that inputs.mjs makes, over HTTP. */
export async function openModel(url) {
  const config = await json(`${url}quantized/config.json`);
  const source = await openUrl(`${url}quantized/model.safetensors`);
  const checkpoint = await open(source);
  const quantization = await findQuantized(checkpoint, { configs: { "config.json": config } });
  return { config, source, checkpoint, quantization };
}

/** Bytes of that model that its server has sent by now. */
export async function sentOf(url) {
  return json(`${url}sent/quantized/model.safetensors`);
}

async function json(url) {
  return (await fetch(url)).json();
}

/** Of each part, in the order of names, a line that describes it, and its bytes. */
async function digestOfParts(parts) {
  const pieces = [];
  for (const role of [...parts.keys()].sort()) {
    const { dtype, shape, bytes } = parts.get(role);
    pieces.push(`${role}${dtype}[${shape}]\n`, bytes);
  }
  return sha256(await new Blob(pieces).arrayBuffer());
}

/** The same bytes everywhere, of all kinds. */
function anyBytes(length) {
  let state = 1;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return state >>> 24;
  });
}
