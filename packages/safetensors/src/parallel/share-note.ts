import { DTYPES, type Dtype, elementCount } from "../dtype/dtype.ts";
import { quote, SafetensorsError } from "../errors.ts";
import { hex, sha256 } from "../manifest/sha256.ts";
import { type AxisCut, type Cut, type CutRange, cutShape } from "../view/cut.ts";
import type { TensorInfo } from "./division.ts";
import { type Coordinates, Mesh, type MeshAxis } from "./mesh.ts";
import { genericName } from "./names.ts";

/**
 * Key in the metadata of a rank's files, under which they say what they are: JSON with the members of `ShareNote`, and
 * `"version": 1`. What is cut is listed by name, and where all of a kind are cut alike, by the name with a star for each
 * number: `"cuts": {"layers.*.mlp.up_proj.weight": {"shape": [64, 16], "cut": [{"axis": 0, "ranges": [[0, 32]]}]}}`.
 * A range is `[start, stop]` or `[start, stop, step]`. What is not listed is whole.
 */
export const SHARE_NOTE = "parallel.share";

/** What a rank's file says of itself. */
export interface ShareNote {
  readonly rank: number;
  readonly world: Coordinates;
  readonly order: readonly MeshAxis[];
  /** The checkpoint that it is a part of: how many tensors all ranks together have, and what names and shapes. */
  readonly whole: Fingerprint;
  readonly cuts: ReadonlyMap<string, CutNote>;
}

/** Tells checkpoints of different tensors apart, by names, dtypes and shapes. */
export interface Fingerprint {
  readonly tensors: number;
  readonly sha256: string;
  /** And by some of their values, if these were read: see `valueSample`. */
  readonly values?: string;
}

/** What a rank has of a tensor. */
export interface CutNote {
  /** Shape of the whole tensor. */
  readonly shape: readonly number[];
  readonly cut: Cut;
  /** The bytes of the whole tensor, in hexadecimal digits, where the rank has others in their place. */
  readonly data?: string;
}

/** The fingerprint of these tensors, in whatever order. */
export function fingerprintOf(tensors: Iterable<TensorInfo>): Fingerprint {
  const lines = Array.from(tensors, ({ name, dtype, shape }) => JSON.stringify([name, dtype, shape])).sort();
  const hasher = sha256();
  const encoder = new TextEncoder();
  for (const line of lines) hasher.update(encoder.encode(`${line}\n`));
  return { tensors: lines.length, sha256: hex(hasher.digest()) };
}

/** The notes of a rank's tensors; those of a kind that all have the same come as one. */
export function groupNotes(notes: ReadonlyMap<string, CutNote | undefined>): Map<string, CutNote> {
  const kinds = new Map<string, [name: string, note: CutNote | undefined][]>();
  for (const entry of notes) {
    const kind = genericName(entry[0]);
    const members = kinds.get(kind);
    if (members) members.push(entry);
    else kinds.set(kind, [entry]);
  }
  const grouped = new Map<string, CutNote>();
  for (const [kind, members] of kinds) {
    const texts = new Set(members.map(([, note]) => note && JSON.stringify(note)));
    const [[, first] = []] = members;
    if (texts.size > 1) for (const [name, note] of members) grouped.set(name, note ?? { shape: [], cut: [] });
    else if (first) grouped.set(kind, first);
  }
  return grouped;
}

/** What a rank has of a tensor of this name; nothing if it has it whole. */
export function findNote({ cuts }: ShareNote, name: string): CutNote | undefined {
  const note = cuts.get(name) ?? cuts.get(genericName(name));
  return note && (note.cut.length > 0 || note.data !== undefined) ? note : undefined;
}

/** The text of a note: the same note gives the same text. */
export function writeNote({ rank, world, order, whole, cuts }: ShareNote): string {
  const { tp, pp, ep, dp } = world;
  const members = [...cuts]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, { shape, cut, data }]) => {
      const axes = cut.map(({ axis, ranges, padding }) => {
        const short = ranges.map(({ start, stop, step }) => [
          start,
          stop,
          ...(step === undefined ? [] : [step]),
        ]);
        return { axis, ranges: short, ...(padding && { padding }) };
      });
      return `${JSON.stringify(name)}:${JSON.stringify({ shape, cut: axes, ...(data !== undefined && { data }) })}`;
    });
  const head = JSON.stringify({ version: 1, rank, world: { tp, pp, ep, dp }, order, whole });
  return `${head.slice(0, -1)},"cuts":{${members.join()}}}`;
}

/**
 * Reads the text of a note, which may come from anywhere.
 *
 * @throws `INVALID_INDEX` for what is no note; `UNSUPPORTED` for one of a later version
 */
export function readNote(text: string): ShareNote {
  const value = parsed(text);
  const { version, rank, world, order, whole, cuts } = fieldsOf(value, "the text");
  if (version !== 1 && isCount(version)) {
    const reason = `the metadata ${quote(SHARE_NOTE)} is of version ${version}, and only 1 is known`;
    throw new SafetensorsError("UNSUPPORTED", reason);
  }
  const { tensors, sha256, values } = fieldsOf(whole, `"whole"`);
  if (version !== 1 || !isCount(tensors) || !isDigest(sha256) || !(values === undefined || isDigest(values)))
    throw invalid("it does not say of what it is a part");
  const mesh = meshOf(world, order);
  if (!isCount(rank) || rank >= mesh.size) throw invalid(`there is no such rank in a world of ${mesh.size}`);
  const notes = new Map<string, CutNote>();
  for (const [name, note] of Object.entries(fieldsOf(cuts, `"cuts"`))) notes.set(name, cutNote(name, note));
  return {
    rank,
    world: mesh.sizes,
    order: mesh.order,
    whole: { tensors, sha256, ...(values !== undefined && { values }) },
    cuts: notes,
  };
}

/** The bytes that a note has in place of those of the rank. `INVALID_INDEX` if they do not fill dtype and shape. */
export function dataOfNote(name: string, dtype: Dtype, { shape, data = "" }: CutNote): Uint8Array {
  if (data.length !== 2 * Math.ceil((elementCount(shape) * DTYPES[dtype].bits) / 8))
    throw invalid(`the data of tensor ${quote(name)} does not fill ${dtype} [${shape}]`);
  return Uint8Array.from({ length: data.length / 2 }, (_, i) =>
    Number.parseInt(data.slice(2 * i, 2 * i + 2), 16),
  );
}

type Fields = Readonly<Record<string, unknown>>;

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw invalid(`it is no JSON: ${(cause as Error).message}`);
  }
}

function fieldsOf(value: unknown, what: string): Fields {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Fields;
  throw invalid(`${what} is no object`);
}

function meshOf(world: unknown, order: unknown): Mesh {
  try {
    if (!Array.isArray(order) || !order.every((axis) => typeof axis === "string"))
      throw invalid(`"order" is no list of names`);
    return new Mesh(fieldsOf(world, `"world"`) as Partial<Coordinates>, order as MeshAxis[]);
  } catch (error) {
    throw error instanceof SafetensorsError && error.code === "INVALID_SLICE" ? invalid(error.reason) : error;
  }
}

function cutNote(name: string, value: unknown): CutNote {
  const { shape, cut, data } = fieldsOf(value, `what is said of ${quote(name)}`);
  const isData = data === undefined || (typeof data === "string" && /^(?:[0-9a-f]{2})*$/.test(data));
  if (!Array.isArray(shape) || !shape.every(isCount) || !Array.isArray(cut) || !isData)
    throw invalid(`what is said of ${quote(name)} has no shape and cut`);
  const note = { shape, cut: cut.map((one) => axisCut(name, one)), ...(data !== undefined && { data }) };
  try {
    cutShape(note.shape, note.cut);
    return note;
  } catch (error) {
    throw error instanceof SafetensorsError ? invalid(`${quote(name)}: ${error.reason}`) : error;
  }
}

function axisCut(name: string, value: unknown): AxisCut {
  const { axis, ranges, padding } = fieldsOf(value, `a cut of ${quote(name)}`);
  if (!isCount(axis) || !Array.isArray(ranges) || !(padding === undefined || isCount(padding)))
    throw invalid(`a cut of ${quote(name)} has no axis and ranges`);
  return {
    axis,
    ranges: ranges.map((range) => rangeOf(name, range)),
    ...(padding !== undefined && { padding }),
  };
}

function rangeOf(name: string, value: unknown): CutRange {
  if (!Array.isArray(value) || value.length < 2 || value.length > 3 || !value.every(isCount))
    throw invalid(`a range of ${quote(name)} is not [start, stop] or [start, stop, step]`);
  const [start, stop, step] = value as [number, number, number?];
  return { start, stop, ...(step !== undefined && { step }) };
}

function isDigest(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function invalid(problem: string): SafetensorsError {
  return new SafetensorsError("INVALID_INDEX", `the metadata ${quote(SHARE_NOTE)} is not valid: ${problem}`);
}
