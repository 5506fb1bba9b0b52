export { type CastOptions, castFloats, type FloatDtype, isFloatDtype } from "./cast.ts";
export { decodeElement, toFloat32 } from "./decode.ts";
export {
  DTYPE_ORDER,
  DTYPES,
  type Dtype,
  type DtypeArrays,
  type DtypeInfo,
  type DtypeKind,
  isDtype,
} from "./dtype.ts";
