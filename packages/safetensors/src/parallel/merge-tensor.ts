import { commonType, type FilePart, mismatch } from "../consolidate/tile.ts";
import { elementCount } from "../dtype/dtype.ts";
import { quote, SafetensorsError } from "../errors.ts";
import type { Cut } from "../view/cut.ts";
import type { TensorView } from "../view/tiling.ts";
import { blocksOf, joinShards } from "./join.ts";

/** What a file has of a tensor. */
export interface CutPart extends FilePart {
  readonly cut: Cut;
}

/** A tensor before its parts are put together. */
export interface TensorParts {
  /** Shape of the whole. */
  readonly shape: readonly number[];
  readonly parts: readonly CutPart[];
}

/** A tensor put together, and what is to be read before that can be relied on. */
export interface MergedTensor {
  readonly view: TensorView;
  readonly distribution: "cut" | "replicated" | "whole";
  /** Parts that must have the same bytes. */
  readonly copies: readonly (readonly FilePart[])[];
  /** Whether no rank has a part only. */
  readonly isWhole: boolean;
}

/**
 * Puts a tensor together from what each file has of it.
 *
 * @throws `INDEX_MISMATCH` if the parts have different dtypes, overlap, leave something out, or are not as they were cut
 */
export function mergeTensor(name: string, { shape, parts }: TensorParts): MergedTensor {
  commonType(name, parts);
  const isWhole = parts.every(({ cut }) => cut.length === 0);
  const groups = new Map<string, CutPart[]>();
  for (const part of parts) {
    const key = JSON.stringify(part.cut);
    const group = groups.get(key);
    if (group) group.push(part);
    else groups.set(key, [part]);
  }
  try {
    const distinct = [...groups.values()].map(([first]) => first!);
    const view = joinShards(shape, distinct);
    const copies = isWhole ? [parts] : copiesOf(shape, parts);
    const distribution = !isWhole ? "cut" : parts.length > 1 ? "replicated" : "whole";
    return { view, distribution, copies: copies.filter((group) => group.length > 1), isWhole };
  } catch (error) {
    if (!(error instanceof SafetensorsError) || error.code !== "INVALID_SLICE") throw error;
    const listed = parts.slice(0, 8).map(({ file, view }) => `[${view.shape}] in ${quote(file)}`);
    const more = parts.length > listed.length ? " …" : "";
    throw mismatch(name, `${error.reason} (there are ${listed.join(", ")}${more})`);
  }
}

/** Parts of the same place, such as heads that several ranks share beside others of their own. */
function copiesOf(shape: readonly number[], parts: readonly CutPart[]): FilePart[][] {
  const places = new Map<string, FilePart[]>();
  for (const { file, view, cut } of parts) {
    for (const block of blocksOf(shape, { view, cut })) {
      if (elementCount(block.view.shape) === 0) continue;
      const place = `${block.at}/${block.steps}/${block.view.shape}`;
      const group = places.get(place);
      if (group) group.push({ file, view: block.view });
      else places.set(place, [{ file, view: block.view }]);
    }
  }
  return [...places.values()];
}
