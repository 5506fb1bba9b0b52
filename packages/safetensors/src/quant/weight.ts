import type { FloatDtype } from "../dtype/cast.ts";
import type { Dtype } from "../dtype/dtype.ts";
import type { KernelCall } from "./kernels/call.ts";

/**
 * How one axis of a stored tensor follows an axis of the weight: `every` indices of that, in one piece, are `takes`
 * indices of this. The 32-bit words of a GPTQ weight of 3 bits: every 32 inputs take 3. A ragged end takes what is left.
 */
export interface AxisLink {
  /** Axis of the weight. */
  readonly axis: number;
  readonly every: number;
  readonly takes: number;
}

/** A stored tensor that is one part of a quantised weight. */
export interface Part {
  /** What it is to the scheme, in the words of the scheme: `qweight`, `scales`, `weight_scale_inv`. */
  readonly role: string;
  /** The whole name of the tensor. */
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** For each axis of it, what it follows; `null`: the axis is whole in every part of the weight. */
  readonly links: readonly (AxisLink | null)[];
}

/** The packed little-endian bytes of a part, or of what is taken of it. */
export interface PartData {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** A part that is not cut but written anew for a piece of the weight, as it states the shape of the whole. */
export interface Restated {
  readonly role: string;
  readonly data: PartData;
}

/**
 * A weight that several stored tensors are together: what is known of it without reading data. Cutting it means cutting its
 * parts (`cutParts`); its values are what `decode` makes of all parts of a piece.
 */
export interface QuantizedWeight {
  /** What a dense checkpoint calls it: `model.layers.0.mlp.up_proj.weight`. */
  readonly name: string;
  /** Name of the scheme, as `SCHEMES` has it. */
  readonly scheme: string;
  /** Shape of the weight as it is stored: `[out, in]`, with experts `[experts, out, in]`. */
  readonly shape: readonly number[];
  /** Whether its dense form has the last two axes the other way round: the experts of gpt-oss, which are `[experts, in, out]`. */
  readonly transposed?: boolean;
  /** Bits of an element, without scales. */
  readonly bits: number;
  /** Elements that share a scale, along the last axis, or for blocks along the last two. */
  readonly group: readonly number[];
  readonly symmetric: boolean;
  /** What else tells this layout from others of the scheme: "act-order", "zeros as v2", in a few words each. */
  readonly notes: readonly string[];
  /** The floats that its dense form is stored in, if nothing else is asked for. */
  readonly dense: FloatDtype;
  readonly parts: readonly Part[];
  /**
   * Stored tensors that belong to the layer and are not needed for its values: scales of inputs. They are whole in every piece
   * of a matrix; of several experts, those that have one for each go with these.
   */
  readonly besides?: readonly string[];
  /** Why it can only be had whole, if so. */
  readonly indivisible?: string;
  /**
   * Sizes along each axis that the file's metadata state of the weight. A piece that is stored on its own keeps them: it must
   * be made of whole ones.
   */
  readonly stated?: readonly number[];
  /** The parts that state the shape, for a piece of it. Such parts have only `null` links. */
  restate?(shape: readonly number[]): readonly Restated[];
  /**
   * The work that gives the dense values of a piece, row by row, as 32-bit floats.
   *
   * @param parts by role, each with what `cutParts` takes for the piece
   * @param shape of the piece
   */
  decode(parts: ReadonlyMap<string, PartData>, shape: readonly number[]): KernelCall;
}
