import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { type NameChoice, nameTestIn } from "../checkpoint/select.ts";
import type { TensorHandle } from "../checkpoint/tensor.ts";
import type { Dtype } from "../dtype/dtype.ts";
import { compareUtf8 } from "../format/utf8.ts";
import { type ComparedTensors, compareTensors, hasSameShape, type ValueOptions } from "./tensors.ts";

/** Options of `compareCheckpoints`. */
export interface CompareOptions extends ValueOptions {
  /** Compare only tensors with these names. */
  readonly names?: NameChoice | undefined;
  /** Compare names, dtypes, shapes and metadata; read no values. */
  readonly structureOnly?: boolean | undefined;
  /** Do not compare the metadata. */
  readonly ignoreMetadata?: boolean | undefined;
  /** Called after every piece with the bytes compared so far, those of both sides, and in all, and the tensor's name. */
  readonly onProgress?: ((done: number, total: number, name: string) => void) | undefined;
}

/** What is known of a tensor without its values. */
export interface TensorOutline {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

/** A tensor that both have. */
export interface TensorComparison extends ComparedTensors {
  readonly name: string;
  readonly a: Omit<TensorOutline, "name">;
  readonly b: Omit<TensorOutline, "name">;
}

/** A metadata key whose value is not the same; undefined where there is none. */
export interface MetadataDifference {
  readonly key: string;
  readonly a: string | undefined;
  readonly b: string | undefined;
}

/** What `compareCheckpoints` finds. */
export interface Comparison {
  /**
   * Whether the two have the same tensors and metadata. Tensors must be `identical`; if a tolerance was given (0 will do),
   * `equalNan` or `cast`, `equal` and `close` will do too.
   */
  readonly same: boolean;
  readonly onlyInA: readonly TensorOutline[];
  readonly onlyInB: readonly TensorOutline[];
  /** Keys with different values, in the order of their code points. */
  readonly metadata: readonly MetadataDifference[];
  /** Every tensor that both have, in the order of `a`. */
  readonly tensors: readonly TensorComparison[];
}

/**
 * Compares two checkpoints, of whatever formats, by tensor names: first what their headers say, then the values, piece
 * by piece. The order of the tensors and how they are split into files do not matter.
 *
 * @throws `TENSOR_NOT_FOUND` for a listed name that neither has; what reading throws
 */
export async function compareCheckpoints(
  a: Checkpoint,
  b: Checkpoint,
  options: CompareOptions = {},
): Promise<Comparison> {
  const isWanted = nameTestIn(options.names, (name) => a.has(name) || b.has(name));
  const wanted = (checkpoint: Checkpoint): Map<string, TensorHandle> =>
    new Map(
      Array.from(checkpoint, (tensor) => [tensor.name, tensor] as const).filter(([name]) => isWanted(name)),
    );
  const [inA, inB] = [wanted(a), wanted(b)];
  const onlyInA = outlinesBut(inA, inB);
  const onlyInB = outlinesBut(inB, inA);
  const metadata = options.ignoreMetadata ? [] : compareMetadata(a.metadata, b.metadata);

  const pairs = Array.from(inA.values(), (one) => [one, inB.get(one.name)] as const).filter(isPair);
  const tensors: TensorComparison[] = [];
  const total = pairs.reduce((sum, [one, other]) => sum + one.byteLength + other.byteLength, 0);
  let before = 0;
  for (const [one, other] of pairs) {
    let done = before;
    const compared = options.structureOnly
      ? compareOutlines(one, other)
      : await compareTensors(one, other, options, (count) => {
          done += count;
          options.onProgress?.(done, total, one.name);
        });
    before += one.byteLength + other.byteLength;
    tensors.push({ name: one.name, a: outline(one), b: outline(other), ...compared });
  }
  const isSame = statusTest(options);
  const same =
    onlyInA.length + onlyInB.length + metadata.length === 0 && tensors.every(({ status }) => isSame(status));
  return { same, onlyInA, onlyInB, metadata, tensors };
}

/** Which statuses of a tensor count as the same: see `Comparison.same`. */
function statusTest(options: CompareOptions): (status: TensorComparison["status"]) => boolean {
  const { atol, rtol, equalNan, cast } = options;
  const byValue = atol !== undefined || rtol !== undefined || equalNan || cast;
  const same = new Set(byValue ? ["identical", "unread", "equal", "close"] : ["identical", "unread"]);
  return (status) => same.has(status);
}

function compareOutlines(a: TensorHandle, b: TensorHandle): ComparedTensors {
  const same = a.dtype === b.dtype && hasSameShape(a, b);
  return { status: same ? "unread" : "incompatible" };
}

function compareMetadata(
  a: ReadonlyMap<string, string>,
  b: ReadonlyMap<string, string>,
): MetadataDifference[] {
  return [...new Set([...a.keys(), ...b.keys()])]
    .sort(compareUtf8)
    .map((key) => ({ key, a: a.get(key), b: b.get(key) }))
    .filter((one) => one.a !== one.b);
}

type Pair = readonly [TensorHandle, TensorHandle];

const isPair = (pair: readonly [TensorHandle, TensorHandle | undefined]): pair is Pair =>
  pair[1] !== undefined;

/** What is known of the tensors of one that the other does not have. */
function outlinesBut(
  one: ReadonlyMap<string, TensorHandle>,
  other: ReadonlyMap<string, TensorHandle>,
): TensorOutline[] {
  return Array.from(one.values())
    .filter(({ name }) => !other.has(name))
    .map((tensor) => ({ name: tensor.name, ...outline(tensor) }));
}

const outline = ({ dtype, shape }: TensorHandle): Omit<TensorOutline, "name"> => ({ dtype, shape });
