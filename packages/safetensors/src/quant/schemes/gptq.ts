import { quote } from "../../errors.ts";
import type { Finder, Scheme } from "../scheme.ts";
import { type GptqConfig, gptqConfigOf, schemeOf, settingsOf } from "./gptq-config.ts";
import { layoutOf, unfit } from "./gptq-layout.ts";
import { isOutOfOrder } from "./gptq-order.ts";
import { type GptqShape, gptqShapeOf } from "./gptq-shape.ts";
import { gptqWeight } from "./gptq-weight.ts";
import { lookAtZeros, samplesOf, type ZerosSeen } from "./gptq-zeros.ts";

/** Layouts for the kernels of one program, and what their tensors are called. */
const REFUSED: ReadonlyMap<string, string> = new Map([
  ["marlin", "codes and scales are permuted for the Marlin kernel"],
  ["marlin_24", "codes are 2:4 sparse, and permuted for the Marlin kernel"],
  ["gptq_marlin_24", "codes are 2:4 sparse, and permuted for the Marlin kernel"],
  ["bitblas", "codes are laid out for BitBLAS, by the machine that they were made for"],
  ["qqq", "codes are laid out for the QQQ kernel, with weights of 4 bits and activations of 8"],
]);
const REFUSED_TENSORS: ReadonlySet<string> = new Set(
  "qweight qzeros scales zeros g_idx B B_24 B_meta s s_group s_channel workspace".split(" "),
);

/** Layouts that are read, and whether zeros are stored less one. */
const FORMATS: ReadonlyMap<string, boolean> = new Map([
  ["gptq", true],
  ["gptq_v2", false],
  ["gptq_p", false],
]);

interface Layer {
  readonly module: string;
  readonly shape: GptqShape;
}

/**
 * GPTQ, as AutoGPTQ, GPTQModel, AutoRound and Optimum write it: codes of 2 to 8 bits along the inputs, with `g_idx` or
 * without. The configuration may call the zeros what they are not: of symmetric weights it shows, and is believed.
 */
export const GPTQ: Scheme = {
  name: "gptq",
  claims: (config) => schemeOf(config) === "gptq",
  async find(finder) {
    const config = gptqConfigOf(finder, (text) => {
      if (finder.config) finder.problem(finder.config.place, text);
    });
    const why = config.scheme === "awq" ? undefined : REFUSED.get(config.format ?? "gptq");
    if (why !== undefined) return refuse(finder, config.format!, why);
    if (config.scheme === "gptq" && config.format !== undefined && !FORMATS.has(config.format)) {
      return refuse(finder, config.format, "its layout is not known");
    }
    const layers = await withOrder(finder, config, layersOf(finder, config));
    const lessOne = await zerosLessOne(finder, config, layers);
    for (const layer of layers) {
      const isLessOne = await lessOne(layer);
      if (isLessOne !== undefined) finder.add(gptqWeight(layer.module, layer.shape, isLessOne));
    }
  },
};

function layersOf(finder: Finder, config: GptqConfig): Layer[] {
  const layers: Layer[] = [];
  for (const [module, tensors] of finder.modules()) {
    if (!tensors.has("qweight")) continue;
    const problem = (text: string): void => finder.problem(module, text);
    const layout = layoutOf(tensors);
    if (layout !== "gptq") {
      if (config.scheme === "gptq") problem(`${config.place} says GPTQ, but ${unfit(tensors, layout)}`);
      else if (!finder.config && !layout && tensors.get("qweight")!.is("I32"))
        problem(unfit(tensors, layout));
      continue;
    }
    // AWQ, if that is what the configuration says, tells of it.
    if (config.scheme === "awq") continue;
    let settings = settingsOf(config, module, problem);
    if (settings === "skip") {
      problem(
        `${config.place} says that it is not quantised, but it has a qweight: it is read as the others are`,
      );
      settings = config.settings;
    }
    const shape = gptqShapeOf(tensors, settings, config);
    if (typeof shape === "string") problem(shape);
    else layers.push({ module, shape });
  }
  return layers;
}

/** Some of the layers that are said to have groups of neighbours are looked at: if one has not, none is believed. */
async function withOrder(finder: Finder, { place }: GptqConfig, layers: Layer[]): Promise<Layer[]> {
  const ordered = layers.filter(({ shape }) => shape.groupIndex && !shape.actOrder);
  for (const { module, shape } of samplesOf(ordered)) {
    if (!(await isOutOfOrder(finder, shape))) continue;
    finder.problem(
      module,
      `${place} says no desc_act, but g_idx is not k // ${shape.group}: all layers are read by g_idx`,
    );
    return layers.map((layer) => {
      return layer.shape.groupIndex ? { ...layer, shape: { ...layer.shape, actOrder: true } } : layer;
    });
  }
  return layers;
}

/** Whether the zeros of a layer are stored less one; nothing if that is not sure. */
async function zerosLessOne(
  finder: Finder,
  config: GptqConfig,
  layers: readonly Layer[],
): Promise<(layer: Layer) => Promise<boolean | undefined> | boolean | undefined> {
  const said = config.scheme === "gptq" ? FORMATS.get(config.format ?? "gptq") : undefined;
  const seen: { readonly layer: Layer; readonly zeros: ZerosSeen }[] = [];
  for (const layer of samplesOf(layers)) seen.push({ layer, zeros: await lookAtZeros(finder, layer.shape) });
  const telling = seen.filter(({ zeros }) => zeros.lessOne !== undefined);
  const less = telling.filter(({ zeros }) => zeros.lessOne);
  if (less.length > 0 && less.length < telling.length) {
    const other = telling.find(({ zeros }) => !zeros.lessOne)!;
    const text = `zeros are stored less one here, and as they are in ${quote(other.layer.module)}: each layer is looked at`;
    finder.problem(less[0]!.layer.module, text);
    return async (layer) => (await lookAtZeros(finder, layer.shape)).lessOne ?? said ?? unsure(layer);
  }
  const shown = telling[0]?.zeros.lessOne;
  if (shown !== undefined && said !== undefined && shown !== said) {
    const { layer } = telling[0]!;
    const field = 2 ** (layer.shape.bits - 1) - (shown ? 1 : 0);
    const [is, isSaid] = shown ? ["gptq", config.format] : ["gptq_v2", config.format ?? "gptq"];
    const text = `${config.place} says ${isSaid}, but all zeros are stored as ${field}, which is ${is}: it is read as ${is}`;
    finder.problem(layer.module, text);
  }
  const result = shown ?? said;
  if (result) reportWraps(finder, seen);
  return (layer) => result ?? unsure(layer);

  function unsure({ module }: Layer): undefined {
    const text =
      "no configuration says whether zeros are stored less one (gptq) or as they are (gptq_v2): it is not read";
    finder.problem(module, text);
  }
}

function reportWraps(
  finder: Finder,
  seen: readonly { readonly layer: Layer; readonly zeros: ZerosSeen }[],
): void {
  for (const { layer, zeros } of seen) {
    const { module, shape } = layer;
    const most = 2 ** shape.bits - 1;
    if (zeros.ones)
      finder.problem(
        module,
        "words of qzeros are 0xFFFFFFFF: very old AutoGPTQ wrote a zero of 0 over its neighbours, which are lost then",
      );
    else if (zeros.wraps)
      finder.problem(
        module,
        `a zero is stored as ${most}, which is 0 here, as in AutoGPTQ and GPTQModel; AutoRound and the kernels of vLLM take ${most + 1}`,
      );
  }
}

function refuse(finder: Finder, format: string, why: string): void {
  const names: string[] = [];
  for (const [, tensors] of finder.modules()) {
    if (!tensors.has("qweight") && !tensors.has("B") && !tensors.has("B_24")) continue;
    for (const [role, tensor] of tensors) if (REFUSED_TENSORS.has(role)) names.push(tensor.name);
  }
  finder.refuse("gptq", `the layout ${quote(format)} is not read: ${why}`, names);
}
