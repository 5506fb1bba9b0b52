import { mismatch } from "../consolidate/tile.ts";
import { quote, SafetensorsError } from "../errors.ts";
import { type Cut, cutShape } from "../view/cut.ts";
import { Division, type WorldOptions } from "./division.ts";
import { gatherRanks, type Holder, type NumberedFile, type RankFile, type RankSet } from "./merge-files.ts";
import { noteIn } from "./merge-notes.ts";
import { likelyShapes } from "./merge-shapes.ts";
import type { TensorParts } from "./merge-tensor.ts";
import { Mesh } from "./mesh.ts";

/**
 * The ranks of files whose division is given.
 *
 * @throws `UNSUPPORTED` for a file whose number is not known; `INDEX_MISMATCH` for ranks that are missing
 */
export function ranksOfPlan(files: readonly RankFile[], { world, order }: WorldOptions): RankSet {
  const numbered = files.map((one): NumberedFile => {
    const note = noteIn(one);
    const rank = note?.rank ?? one.rank;
    if (rank !== undefined) return { ...one, rank, note };
    const text = `it is not known which rank ${quote(one.file)} is of; name the files by their ranks, such as rank-0`;
    throw new SafetensorsError("UNSUPPORTED", text, { file: one.file });
  });
  return gatherRanks(new Mesh(world, order), numbered);
}

/**
 * What the files of the ranks have of a tensor by a plan. The plan cuts whole tensors, whose shapes are not known: of those
 * that the parts may come from, it is the one that the plan cuts into parts of these shapes.
 *
 * A rank that lacks what another has takes nothing away, so that whole experts may lie in any rank.
 *
 * @throws `INDEX_MISMATCH` if there is none
 */
export function cutsOfPlan(
  holders: RankSet["holders"],
  options: WorldOptions,
): (name: string, parts: readonly Holder[]) => TensorParts {
  const infos = Array.from(holders, ([name, [first]]) => {
    const { dtype, shape } = first!.view;
    return { name, dtype, shape };
  });
  const division = new Division(options, infos);
  return (name, parts) => {
    let reason = "";
    for (const shape of likelyShapes(name, parts, options)) {
      try {
        const cuts = cutsFrom(division, name, shape, parts);
        if (!cuts) continue;
        return { shape, parts: parts.map(({ file, view }, i) => ({ file, view, cut: cuts[i]! })) };
      } catch (error) {
        if (!(error instanceof SafetensorsError) || error.code !== "INVALID_SLICE") throw error;
        reason ||= ` (${error.reason})`;
      }
    }
    throw noShape(name, parts, options, reason);
  };
}

/** The cuts of all parts, if a tensor of this shape is cut into such. */
function cutsFrom(
  division: Division,
  name: string,
  shape: readonly number[],
  parts: readonly Holder[],
): Cut[] | undefined {
  const cuts: Cut[] = [];
  for (const { at, view } of parts) {
    const share = division.shareOf({ name, dtype: view.dtype, shape }, at);
    if (!share || `${cutShape(shape, share.cut)}` !== `${view.shape}`) return undefined;
    cuts.push(share.cut);
  }
  return cuts;
}

function noShape(
  name: string,
  parts: readonly Holder[],
  { plan, world }: WorldOptions,
  reason: string,
): SafetensorsError {
  const style = plan?.styleOf(name);
  const rule = !style
    ? "no rule of the plan is for it, so it is whole"
    : `it has the style ${quote(typeof style === "string" ? style : style.kind)}`;
  const listed = parts.slice(0, 4).map(({ view, file }) => `[${view.shape}] in ${quote(file)}`);
  const more = parts.length > listed.length ? " …" : "";
  const text = `by this plan and a world of ${new Mesh(world).size} ranks, no tensor is cut into ${listed.join(", ")}${more}: ${rule}${reason}`;
  return mismatch(name, text);
}
