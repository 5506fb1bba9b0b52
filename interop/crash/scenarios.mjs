import * as edited from "./scenarios/edited.mjs";
import * as merged from "./scenarios/merged.mjs";
import * as otherCount from "./scenarios/other-count.mjs";
import * as resumed from "./scenarios/resumed.mjs";
import * as sameCount from "./scenarios/same-count.mjs";
import * as single from "./scenarios/single.mjs";
import * as singleAndSeveral from "./scenarios/single-and-several.mjs";

/**
 * What is killed. A scenario has a `title`; `write(folder, generation)`, which replaces the generation before by this one;
 * and `files(generation)`, the names that are in the folder then. The folder holds the tensors of tensors.mjs.
 */
export const SCENARIOS = {
  single,
  "same-count": sameCount,
  "other-count": otherCount,
  "single-and-several": singleAndSeveral,
  resumed,
  merged,
  edited,
};
