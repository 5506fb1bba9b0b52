export { type CutRule, type CutRules, parseCuts } from "./cuts.ts";
export { type OpenedRanks, openRanks, type RanksOptions, type RanksReport } from "./open-ranks.ts";
export type { Distribution } from "./plan-tensors.ts";
export type { RankChoice, RankKind } from "./rank-files.ts";
