import type { PickleResult } from "./pickle/machine.ts";

/** A pickle with the names and the opcodes of others that belong to it. */
export function joinPickles(pickle: PickleResult, others: readonly PickleResult[]): PickleResult {
  const globals = new Map(pickle.globals.map((ref) => [`${ref.module}\n${ref.name}`, ref]));
  let { opcodes } = pickle;
  for (const other of others) {
    opcodes += other.opcodes;
    for (const ref of other.globals) {
      const id = `${ref.module}\n${ref.name}`;
      const known = globals.get(id);
      if (known) known.calls += ref.calls;
      else globals.set(id, ref);
    }
  }
  return { ...pickle, opcodes, globals: [...globals.values()] };
}
