import { type ByteSource, type Dtype, type OpenedFiles, piecesOf, type TensorHandle } from "safetensors.js";
import type { Quantization, QuantizedWeight } from "safetensors.js/quant";

/** A tensor and where it is. */
export interface ListedTensor {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly parameters: number;
  readonly byteLength: number;
  readonly file: string;
  /** For safetensors: begin and end in the file's data section. */
  readonly dataOffsets?: readonly [begin: number, end: number];
}

/** Sums over some tensors. */
export interface Totals {
  tensors: number;
  parameters: number;
  bytes: number;
}

/** What `inspect` tells of a checkpoint. */
export interface Overview {
  readonly files: readonly { readonly file: string; readonly bytes: number }[];
  readonly tensors: readonly ListedTensor[];
  readonly totals: Readonly<Totals>;
  /** Totals of each dtype, the one with the most bytes first. */
  readonly dtypes: ReadonlyMap<Dtype, Readonly<Totals>>;
}

/** Lists and sums up the tensors whose names `matches` accepts. A quantised weight has the parameters of the dense one. */
export async function overviewOf(
  { files }: OpenedFiles,
  matches: (name: string) => boolean,
  quantization?: Quantization,
): Promise<Overview> {
  const counted = new Set<QuantizedWeight>();
  const tensors: ListedTensor[] = [];
  const totals: Totals = { tensors: 0, parameters: 0, bytes: 0 };
  const dtypes = new Map<Dtype, Totals>();
  for (const { file, source, checkpoint } of files) {
    let dataStart: number | undefined;
    for (const tensor of checkpoint) {
      if (!matches(tensor.name)) continue;
      if (checkpoint.format === "safetensors") dataStart ??= await dataStartOf(source);
      const listed = describe(tensor, file, dataStart);
      tensors.push(listed);
      const ofDtype = dtypes.get(tensor.dtype) ?? { tensors: 0, parameters: 0, bytes: 0 };
      dtypes.set(tensor.dtype, ofDtype);
      ofDtype.parameters += listed.parameters;
      totals.parameters += parametersIn(listed, quantization, counted);
      for (const sum of [totals, ofDtype]) {
        sum.tensors++;
        sum.bytes += listed.byteLength;
      }
    }
  }
  const byBytes = [...dtypes].sort(([, a], [, b]) => b.bytes - a.bytes);
  const sizes = files.map(({ file, source }) => ({ file, bytes: source.size }));
  return { files: sizes, tensors, totals, dtypes: new Map(byBytes) };
}

/** Parameters of a tensor; the first part of a quantised weight counts for all of it, and its other parts for nothing. */
function parametersIn(
  { name, parameters }: ListedTensor,
  quantization: Quantization | undefined,
  counted: Set<QuantizedWeight>,
): number {
  if (quantization?.extras.has(name)) return 0;
  const weight = quantization?.weightOf.get(name);
  if (!weight) return parameters;
  if (counted.has(weight)) return 0;
  counted.add(weight);
  return weight.shape.reduce((product, size) => product * size, 1);
}

function describe(tensor: TensorHandle, file: string, dataStart: number | undefined): ListedTensor {
  const { name, dtype, shape, byteLength, length } = tensor;
  const listed = { name, dtype, shape, parameters: length, byteLength, file };
  if (dataStart === undefined) return listed;
  // A tensor of one safetensors file lies in one piece.
  const [piece] = piecesOf(tensor.view);
  const begin = piece!.view.bitOffset / 8 - dataStart;
  return { ...listed, dataOffsets: [begin, begin + byteLength] };
}

/** The first byte after the header of a safetensors file. */
async function dataStartOf(source: ByteSource): Promise<number> {
  const { buffer, byteOffset } = await source.read(0, 8);
  return 8 + Number(new DataView(buffer, byteOffset).getBigUint64(0, true));
}
