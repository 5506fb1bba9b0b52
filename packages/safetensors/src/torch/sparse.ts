import { DTYPES } from "../dtype/dtype.ts";
import { DenseSource, type SparseParts } from "./dense-source.ts";
import { classifyGlobal } from "./globals.ts";
import { calledPath } from "./numpy-array.ts";
import { ObjectNode, PyTuple } from "./pickle/containers.ts";
import { GlobalRef, type PickleValue } from "./pickle/values.ts";
import { MemoryStorage, TORCH_DTYPES } from "./storage.ts";
import { naturals, wrongShape } from "./strided.ts";
import {
  type AnyTensor,
  CompositeTensor,
  DerivedTensor,
  malformed,
  type ReadableTensor,
  RefusedTensor,
  TensorNode,
  unsupported,
} from "./tensor.ts";
import { tensorOf } from "./tensor-of.ts";

/** The names of the two index tensors of each compressed layout, as torch has them. */
const COMPRESSED: ReadonlyMap<string, readonly [string, string]> = new Map([
  ["sparse_csr", [".crow_indices", ".col_indices"]],
  ["sparse_bsr", [".crow_indices", ".col_indices"]],
  ["sparse_csc", [".ccol_indices", ".row_indices"]],
  ["sparse_bsc", [".ccol_indices", ".row_indices"]],
]);

/** `(layout, (indices…, values, size))` */
export function rebuildSparse(args: readonly PickleValue[]): AnyTensor {
  const [layoutValue, data] = args;
  if (args.length !== 2 || !(data instanceof PyTuple)) return malformed("has the wrong arguments");
  const layout = layoutOf(layoutValue);
  if (layout === "sparse_coo") {
    const [indices, values, size, isCoalesced, ...more] = data.items;
    if (
      more.length > 0 ||
      (isCoalesced !== undefined && isCoalesced !== null && typeof isCoalesced !== "boolean")
    ) {
      return malformed("has the wrong sparse data");
    }
    return sparseTensor(layout, [[".indices", indices]], values, size);
  }
  const names = COMPRESSED.get(layout ?? "");
  if (!layout || !names) return unsupported("is sparse in an unknown layout");
  const [compressed, plain, values, size, ...more] = data.items;
  if (more.length > 0) return malformed("has the wrong sparse data");
  return sparseTensor(
    layout,
    [
      [names[0], compressed],
      [names[1], plain],
    ],
    values,
    size,
  );
}

/** `torch.sparse_coo`, or `_get_layout("torch.sparse_coo")`. */
function layoutOf(value: PickleValue | undefined): string | undefined {
  if (value instanceof GlobalRef && classifyGlobal(value.module, value.name).path.startsWith("torch.sparse_"))
    return value.name;
  if (!(value instanceof ObjectNode) || calledPath(value) !== "torch.serialization._get_layout")
    return undefined;
  const [name] = value.args.items;
  return typeof name === "string" && name.startsWith("torch.") ? name.slice("torch.".length) : undefined;
}

function sparseTensor(
  layout: string,
  indexValues: readonly (readonly [string, PickleValue | undefined])[],
  valuesValue: PickleValue | undefined,
  size: PickleValue | undefined,
): AnyTensor {
  const shape = naturals(size);
  if (!shape) return malformed("has a size that is not made of non-negative ints");
  const values = tensorOf(valuesValue);
  if (!values || values instanceof RefusedTensor)
    return values ?? malformed("has values that are not a tensor");
  if (values instanceof CompositeTensor || DTYPES[values.dtype].bits < 8) {
    return unsupported(`is sparse with values of the dtype ${values.torchDtype.name}`);
  }
  const indices: TensorNode[] = [];
  const parts = new Map<string, ReadableTensor>();
  for (const [name, value] of indexValues) {
    const tensor = tensorOf(value);
    if (!(tensor instanceof TensorNode) || !["I64", "I32"].includes(tensor.dtype)) {
      return tensor instanceof RefusedTensor
        ? tensor
        : malformed("has indices that are not a tensor of integers");
    }
    indices.push(tensor);
    parts.set(name, tensor);
  }
  const wrong = wrongShape(shape, values.torchDtype.bytes);
  if (wrong) return wrong;
  const sparse = { layout, shape, indices: indices.map(({ shape }) => shape), values: values.shape };
  const reason = sparseShapeProblem(sparse);
  if (reason !== undefined) return malformed(`is sparse and ${reason}`);
  parts.set(".values", values);
  parts.set(".size", sizeTensor(shape));
  const whole = dense(sparse, indices, values);
  return new CompositeTensor("sparse", values.torchDtype, `sparse (${layout})`, parts, whole);
}

function sizeTensor(shape: readonly number[]): TensorNode {
  const bytes = new Uint8Array(BigInt64Array.from(shape, BigInt).buffer);
  const torchDtype = TORCH_DTYPES.get("int64")!;
  return new TensorNode({
    storage: new MemoryStorage(bytes, torchDtype),
    torchDtype,
    dtype: "I64",
    shape: [shape.length],
    strides: [1],
    byteOffset: 0,
  });
}

/** What is wrong with the shapes of indices and values; nothing if they fit. */
function sparseShapeProblem({ layout, shape, indices, values }: SparseParts): string | undefined {
  const [first, second] = indices;
  const equal = (a: readonly number[], b: readonly number[]): boolean => a.join() === b.join();
  if (layout === "sparse_coo") {
    const [dimensions, count] = first!;
    if (first!.length !== 2 || dimensions! > shape.length) return `has indices of the shape [${first}]`;
    return equal(values, [count!, ...shape.slice(dimensions)])
      ? undefined
      : `has values of the shape [${values}]`;
  }
  const batch = first!.length - 1;
  const isBlock = layout === "sparse_bsr" || layout === "sparse_bsc";
  const isRows = layout === "sparse_csr" || layout === "sparse_bsr";
  const count = second!.at(-1);
  if (batch < 0 || shape.length < batch + 2 || count === undefined)
    return `has indices of the shape [${first}]`;
  const batches = shape.slice(0, batch);
  const block = isBlock ? values.slice(batch + 1, batch + 3) : [1, 1];
  const [rows, columns] = shape.slice(batch) as [number, number];
  if (block.length !== 2 || block.includes(0) || rows % block[0]! !== 0 || columns % block[1]! !== 0) {
    return `has blocks of the shape [${block}]`;
  }
  const lines = isRows ? rows / block[0]! : columns / block[1]!;
  if (!equal(first!, [...batches, lines + 1])) return `has compressed indices of the shape [${first}]`;
  if (!equal(second!, [...batches, count])) return `has plain indices of the shape [${second}]`;
  const wanted = [...batches, count, ...(isBlock ? block : []), ...shape.slice(batch + 2)];
  return equal(values, wanted) ? undefined : `has values of the shape [${values}]`;
}

/** What torch's `to_dense()` gives, computed while it is read. */
function dense(sparse: SparseParts, indices: readonly TensorNode[], values: ReadableTensor): DerivedTensor {
  return new DerivedTensor({
    origin: values,
    torchDtype: values.torchDtype,
    dtype: values.dtype,
    shape: sparse.shape,
    what: `sparse (${sparse.layout}), here dense`,
    open: (viewOf) => new DenseSource(sparse, indices.map(viewOf), viewOf(values)),
  });
}
