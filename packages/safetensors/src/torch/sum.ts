import { castFloats } from "../dtype/cast.ts";
import { toFloat32 } from "../dtype/decode.ts";
import type { Dtype } from "../dtype/dtype.ts";

/** Adds elements to others, in place. */
type Adder = (target: Uint8Array, more: Uint8Array) => void;

/** How elements of a dtype are added as PyTorch adds them, each sum rounded; nothing for 8-bit floats. */
export function adderOf(dtype: Dtype): Adder | undefined {
  switch (dtype) {
    case "BOOL":
      return elementwise(1, (a, b, at) => a.setUint8(at, a.getUint8(at) || b.getUint8(at) ? 1 : 0));
    case "U8":
    case "I8":
      return elementwise(1, (a, b, at) => a.setUint8(at, a.getUint8(at) + b.getUint8(at)));
    case "I16":
    case "U16":
      return elementwise(2, (a, b, at) =>
        a.setUint16(at, a.getUint16(at, true) + b.getUint16(at, true), true),
      );
    case "I32":
    case "U32":
      return elementwise(4, (a, b, at) =>
        a.setUint32(at, a.getUint32(at, true) + b.getUint32(at, true), true),
      );
    case "I64":
    case "U64":
      return elementwise(8, (a, b, at) =>
        a.setBigUint64(at, a.getBigUint64(at, true) + b.getBigUint64(at, true), true),
      );
    case "F32":
    case "C64":
      return elementwise(4, (a, b, at) =>
        a.setFloat32(at, a.getFloat32(at, true) + b.getFloat32(at, true), true),
      );
    case "F64":
      return elementwise(8, (a, b, at) =>
        a.setFloat64(at, a.getFloat64(at, true) + b.getFloat64(at, true), true),
      );
    case "F16":
    case "BF16":
      return (target, more) => {
        const count = target.length / 2;
        const sums = toFloat32(dtype, target, count);
        const others = toFloat32(dtype, more, count);
        for (let index = 0; index < count; index++) sums[index]! += others[index]!;
        target.set(castFloats("F32", dtype, new Uint8Array(sums.buffer)));
      };
    default:
      return undefined;
  }
}

function elementwise(size: number, add: (a: DataView, b: DataView, at: number) => void): Adder {
  return (target, more) => {
    const a = new DataView(target.buffer, target.byteOffset, target.byteLength);
    const b = new DataView(more.buffer, more.byteOffset, more.byteLength);
    for (let at = 0; at < target.length; at += size) add(a, b, at);
  };
}
