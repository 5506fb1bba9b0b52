export { type AxisCut, type Cut, type CutRange, cutShape, cutView, WHOLE } from "../view/cut.ts";
export type { FusedHeads, Heads, RankOf, UnevenRule } from "./axis.ts";
export type { ModelConfig } from "./config.ts";
export { cutTensor } from "./cut-tensor.ts";
export {
  type Device,
  type DeviceMap,
  deviceOf,
  groupByDevice,
  parseDeviceMap,
  parseMemory,
} from "./device-map.ts";
export type { TensorInfo, WorldOptions } from "./division.ts";
export {
  type ExpertOptions,
  type ExpertPart,
  type ExpertPlacement,
  expertPartOf,
  expertRange,
  hasExpert,
} from "./experts.ts";
export { type DeviceMapOptions, inferDeviceMap } from "./infer-device-map.ts";
export { joinShards, type Shard } from "./join.ts";
export { type LayerPlace, layerOf, type Stack } from "./layers.ts";
export {
  type LegalSizesOptions,
  legalWorldSizes,
  type Obstacle,
  type WorldSizeVerdict,
} from "./legal-world-sizes.ts";
export type { RankFile } from "./merge-files.ts";
export { openRankFiles, rankNumbers } from "./merge-open.ts";
export { type MergedRanks, type MergeRanksOptions, type MergeReport, mergeRanks } from "./merge-ranks.ts";
export { type Coordinates, DEFAULT_ORDER, Mesh, type MeshAxis, type WorldSizes } from "./mesh.ts";
export type { SizedTensor } from "./module-tree.ts";
export {
  type LayerRange,
  layerCounts,
  type PipelineOptions,
  type StagesOfTensor,
  stageLayers,
  stagesOf,
} from "./pipeline.ts";
export { ParallelPlan, type PlanOptions, type PlanReport, type PlanRules, parsePlan } from "./plan.ts";
export { type PlanForOptions, planFor } from "./plan-for.ts";
export { type ReadShareOptions, readShare } from "./read-share.ts";
export {
  type RankRow,
  type RankTensor,
  rankShare,
  type WorldTable,
  worldTable,
} from "./share.ts";
export { type ShareOptions, shareCheckpoint } from "./share-checkpoint.ts";
export { SHARE_NOTE } from "./share-note.ts";
export { type DetailedStyle, EMBEDDINGS, type ShardOptions, type Style, shardTensor } from "./style.ts";
export type { StyleName } from "./style-names.ts";
