import { quote, SafetensorsError } from "../errors.ts";
import type { StridedView } from "../view/view.ts";
import type { StoragePlace, TorchFile } from "./file.ts";
import type { StorageNode } from "./storage.ts";
import type { TensorNode } from "./tensor.ts";

/** The views of the tensors, in the order of the data in the file. */
export function viewsOf(
  tensors: ReadonlyMap<string, TensorNode>,
  file: Pick<TorchFile, "placeOf">,
): Map<string, StridedView> {
  const places = new Map<StorageNode, StoragePlace>();
  const views: [string, StridedView][] = [];
  for (const [name, { layout }] of tensors) {
    const { storage, dtype, shape, strides, byteOffset } = layout;
    const { source, offset } = places.get(storage) ?? placeOf(file, storage, name);
    places.set(storage, { source, offset });
    views.push([name, { source, dtype, shape, strides, bitOffset: (offset + byteOffset) * 8 }]);
  }
  return new Map(views.sort((a, b) => a[1].bitOffset - b[1].bitOffset));
}

function placeOf(file: Pick<TorchFile, "placeOf">, storage: StorageNode, tensor: string): StoragePlace {
  try {
    return file.placeOf(storage);
  } catch (error) {
    if (!(error instanceof SafetensorsError)) throw error;
    const details = { ...error.details, tensor, cause: error };
    throw new SafetensorsError(error.code, `tensor ${quote(tensor)}: ${error.reason}`, details);
  }
}
