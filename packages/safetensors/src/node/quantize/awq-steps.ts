import type { Checkpoint } from "../../checkpoint/checkpoint.ts";
import { castFloats, type FloatDtype, isFloatDtype } from "../../dtype/cast.ts";
import { quote, SafetensorsError } from "../../errors.ts";
import { awqFoldings, type Folding } from "../../quant/make/calibrated/awq-foldings.ts";
import { foldIntoColumns, foldIntoNorm, foldIntoRows } from "../../quant/make/calibrated/fold-scale.ts";
import type { CalibrationStatistics } from "../../quant/make/calibrated/statistics.ts";
import type { QuantizeCrew } from "./crew.ts";
import type { Spool } from "./spool.ts";
import type { Step } from "./steps.ts";

/** What AWQ works on. */
export interface AwqWork {
  readonly checkpoint: Checkpoint;
  readonly statistics: CalibrationStatistics;
  readonly scheme: string;
  /** Of config.json. */
  readonly modelType: string;
  /** Whether a module's weight is quantised. */
  isChosen(module: string): boolean;
  readonly signal: AbortSignal | undefined;
}

/**
 * The foldings of a model in which something is quantised; what is not, of the same input, keeps its precision. Experts that no
 * token came to have no statistics: they are left out.
 *
 * @throws what `awqFoldings` throws; `UNSUPPORTED` if there are none, or a tensor that would be scaled has no floats;
 *   `SIZE_MISMATCH` if it has not the size of the scale
 */
export function foldingsOf({ checkpoint, modelType, isChosen, statistics }: AwqWork): Folding[] {
  const shapes = new Map(Array.from(checkpoint, ({ name, shape }) => [name, shape]));
  const foldings = awqFoldings(modelType, shapes)
    .map((folding) => ({
      ...folding,
      quantised: folding.quantised.filter(isChosen),
      kept: [...folding.kept, ...folding.quantised.filter((module) => !isChosen(module))],
    }))
    .filter(({ quantised: [first] }) => first && !(isExpert(first) && statistics.owner(first) === undefined));
  if (foldings.length === 0) {
    const text = `AWQ finds no layers of a ${quote(modelType)} model by their names, such as model.layers.0.mlp.up_proj.weight`;
    throw new SafetensorsError("UNSUPPORTED", text);
  }
  for (const { source, quantised, kept } of foldings) {
    const size = checkpoint.get(`${quantised[0]}.weight`).shape[1]!;
    for (const module of [...quantised, ...kept]) checkScaled(checkpoint, `${module}.weight`, 1, size);
    checkScaled(checkpoint, `${source.module}.weight`, 0, size);
    checkScaled(checkpoint, `${source.module}.bias`, 0, size);
  }
  return foldings;
}

/** Whether a module belongs to an expert, which in calibration perhaps no token came to. */
export const isExpert = (module: string): boolean => /\.experts\.\d+\./.test(module);

function checkScaled(checkpoint: Checkpoint, name: string, axis: number, size: number): void {
  if (!checkpoint.has(name)) return;
  const { dtype, shape } = checkpoint.get(name);
  const [code, what] = isFloatDtype(dtype)
    ? (["SIZE_MISMATCH", `a scale of ${size} values`] as const)
    : (["UNSUPPORTED", "a scale, as it has no floats"] as const);
  if (code === "SIZE_MISMATCH" && shape[axis] === size) return;
  const text = `tensor ${quote(name)} of ${dtype} [${shape}] does not take ${what}`;
  throw new SafetensorsError(code, text, { tensor: name });
}

const itemOf = ({ quantised }: Folding): string => `scale of the input of ${quantised[0]}`;

/** The search for each folding's scale. */
export function searchSteps(work: AwqWork, foldings: readonly Folding[], crew: QuantizeCrew): Step[] {
  const { checkpoint, statistics, scheme, signal } = work;
  return foldings.map((folding) => {
    const tensors = folding.quantised.map((module) => checkpoint.get(`${module}.weight`));
    return {
      item: itemOf(folding),
      bytes: tensors.reduce((sum, { byteLength }) => sum + byteLength, 0),
      async run() {
        const { xtx, absMean } = await statistics.read(folding.quantised[0]!, { signal });
        const weights: Float32Array[] = [];
        for (const tensor of tensors) weights.push(await tensor.toFloat32({ signal }));
        const names = tensors.map(({ name }) => name);
        const { scale } = await crew.run({ kind: "awq-search", scheme, names, weights, xtx, absMean });
        return {
          parts: [["scale", { dtype: "F32", shape: [scale.length], bytes: bytesOf(scale) }]],
          note: null,
        };
      },
    };
  });
}

/** What the scales do to the tensors of a model. */
export interface AwqScaling {
  /** What the inputs of a module are multiplied by. */
  readonly columns: ReadonlyMap<string, Float32Array>;
  /** What its outputs are divided by. */
  readonly rows: ReadonlyMap<string, Float32Array>;
  /** Modules whose limits are looked for. */
  readonly limited: ReadonlySet<string>;
  /** Tensors that change and are not quantised. */
  readonly rewrites: readonly Step[];
}

/** Takes the scales that were found out of the spool. */
export async function scalingOf(
  work: AwqWork,
  foldings: readonly Folding[],
  spool: Spool,
): Promise<AwqScaling> {
  const { items, source } = await spool.read();
  const scales = new Map<Folding, Float32Array>();
  try {
    for (const folding of foldings) scales.set(folding, await items.get(itemOf(folding))![0]!.toFloat32());
  } finally {
    await source.close();
  }
  const columns = new Map<string, Float32Array>();
  const rows = new Map<string, Float32Array>();
  const limited = new Set<string>();
  const changes = new Map<string, Change[]>();
  const change = (name: string, one: Change): void => {
    changes.set(name, [...(changes.get(name) ?? []), one]);
  };
  for (const [{ source, quantised, kept, limits }, scale] of scales) {
    for (const module of [...quantised, ...kept]) columns.set(module, scale);
    for (const module of limits) limited.add(module);
    for (const module of kept) change(`${module}.weight`, (values) => foldIntoColumns(values, scale));
    const { module, kind } = source;
    const divided: Change = (values) => foldIntoRows(values, scale);
    if (kind === "norm") change(`${module}.weight`, (values) => foldIntoNorm(values, scale, source.addsOne));
    else if (work.isChosen(module)) rows.set(module, scale);
    else change(`${module}.weight`, divided);
    change(`${module}.bias`, divided);
  }
  const rewrites = Array.from(changes).flatMap(([name, all]) => rewriteOf(work, name, all));
  return { columns, rows, limited, rewrites };
}

type Change = (values: Float32Array) => Float32Array;

/** A tensor that keeps its precision, changed; none if the model does not have it. */
function rewriteOf({ checkpoint, signal }: AwqWork, name: string, changes: readonly Change[]): Step[] {
  if (!checkpoint.has(name)) return [];
  const tensor = checkpoint.get(name);
  const { shape, byteLength } = tensor;
  const dtype = tensor.dtype as FloatDtype;
  return [
    {
      item: name,
      bytes: byteLength,
      async run() {
        let values = await tensor.toFloat32({ signal });
        for (const change of changes) values = change(values);
        const bytes = castFloats("F32", dtype, bytesOf(values));
        return { parts: [[name, { dtype, shape, bytes }]], note: null };
      },
    },
  ];
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);
