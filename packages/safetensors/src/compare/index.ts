export {
  type CompareOptions,
  type Comparison,
  compareCheckpoints,
  type MetadataDifference,
  type TensorComparison,
  type TensorOutline,
} from "./compare.ts";
export type { ValueDifferences } from "./tally.ts";
export { type ComparedTensors, compareTensors, type TensorStatus, type ValueOptions } from "./tensors.ts";
