import { PyTuple } from "../pickle/containers.ts";
import { GlobalRef, type PickleValue } from "../pickle/values.ts";

/** A call that another call makes at once, of what it is given. */
export interface InnerCall {
  readonly callable: PickleValue | undefined;
  readonly items: readonly PickleValue[];
  readonly kwargs?: PickleValue | undefined;
}

type Inner = (items: readonly PickleValue[]) => readonly InnerCall[];

const reconstruct: Inner = ([callable, ...items]) => [{ callable, items }];

/** The functions that make objects of the class that they are given, as pickles of all protocols use them. */
const INNER = new Map<string, Inner>([
  ["copyreg.__newobj__", ([callable, ...items]) => [{ callable, items }]],
  [
    "copyreg.__newobj_ex__",
    ([callable, args, kwargs]) => [
      args instanceof PyTuple ? { callable, items: args.items, kwargs } : { callable: undefined, items: [] },
    ],
  ],
  [
    "copyreg._reconstructor",
    ([, base, state]) => (isObject(base) ? [] : [{ callable: base, items: [state ?? null] }]),
  ],
  ["numpy.core.multiarray._reconstruct", reconstruct],
  ["numpy._core.multiarray._reconstruct", reconstruct],
  [
    "torch._tensor._rebuild_from_type_v2",
    ([callable, , args]) => [{ callable, items: args instanceof PyTuple ? args.items : [args ?? null] }],
  ],
  [
    "numpy.ma.core._mareconstruct",
    ([subtype, base, ...items]) => [subtype, base].map((callable) => ({ callable, items })),
  ],
]);

/** The calls that a call of a name makes; nothing for most names. */
export function innerCalls(path: string): Inner | undefined {
  return INNER.get(path);
}

function isObject(base: PickleValue | undefined): boolean {
  return base instanceof GlobalRef && /^(?:builtins|__builtin__)\.object$/.test(base.path);
}
