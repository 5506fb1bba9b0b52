import type { Checkpoint } from "../../checkpoint/checkpoint.ts";
import { castFloats, type FloatDtype } from "../../dtype/cast.ts";
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
  readonly crew: QuantizeCrew;
  readonly signal: AbortSignal | undefined;
}

/** What AWQ found for the layers that take one input; the scale as plain numbers. */
interface SearchNote {
  readonly scale: readonly number[];
  readonly ratio: number | undefined;
  readonly loss: { readonly before: number; readonly after: number };
}

/** The foldings of a model in which something is quantised; what is not, of the same input, keeps its precision. */
export function foldingsOf({ checkpoint, modelType, isChosen }: AwqWork): Folding[] {
  const shapes = new Map(Array.from(checkpoint, ({ name, shape }) => [name, shape]));
  return awqFoldings(modelType, shapes)
    .map((folding) => ({
      ...folding,
      quantised: folding.quantised.filter(isChosen),
      kept: [...folding.kept, ...folding.quantised.filter((module) => !isChosen(module))],
    }))
    .filter(({ quantised }) => quantised.length > 0);
}

const itemOf = ({ quantised }: Folding): string => `scale of the input of ${quantised[0]}`;

/** The search for each folding's scale. */
export function searchSteps(work: AwqWork, foldings: readonly Folding[]): Step[] {
  const { checkpoint, statistics, scheme, crew, signal } = work;
  return foldings.map((folding) => {
    const tensors = folding.quantised.map((module) => checkpoint.get(`${module}.weight`));
    return {
      item: itemOf(folding),
      bytes: tensors.reduce((sum, { byteLength }) => sum + byteLength, 0),
      async run() {
        const { xtx, absMean } = await statistics.read(folding.quantised[0]!, { signal });
        const weights: Float32Array[] = [];
        for (const tensor of tensors) weights.push(await tensor.toFloat32({ signal }));
        const { scale, ratio, loss } = await crew.run({ kind: "awq-search", scheme, weights, xtx, absMean });
        return { parts: [], note: { scale: [...scale], ratio, loss } satisfies SearchNote };
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
export function scalingOf(work: AwqWork, foldings: readonly Folding[], spool: Spool): AwqScaling {
  const notes = new Map(Array.from(spool.entries, ({ item, note }) => [item, note as SearchNote]));
  const columns = new Map<string, Float32Array>();
  const rows = new Map<string, Float32Array>();
  const limited = new Set<string>();
  const changes = new Map<string, Change[]>();
  const change = (name: string, one: Change): void => {
    changes.set(name, [...(changes.get(name) ?? []), one]);
  };
  for (const folding of foldings) {
    const scale = Float32Array.from(notes.get(itemOf(folding))!.scale);
    const { source, quantised, kept, limits } = folding;
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
        const bytes = castFloats(
          "F32",
          dtype,
          new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
        );
        return { parts: [[name, { dtype, shape, bytes }]], note: null };
      },
    },
  ];
}
