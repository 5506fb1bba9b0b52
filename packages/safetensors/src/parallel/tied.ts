import { problem } from "./problem.ts";

/** Most names of tensors that are others: models have two or three, and one for each layer at most. */
const MAX_ALIASES = 1024;

/** Names that stand for the same tensor, in groups of all that do. `INVALID_SLICE` if they are too many. */
export function tiedNames(aliases: Iterable<readonly [name: string, of: string]>): Set<string>[] {
  const groups = new Map<string, Set<string>>();
  let count = 0;
  for (const [name, of] of aliases) {
    if (++count > MAX_ALIASES) throw problem(`there are more than ${MAX_ALIASES} aliases`);
    const group = groups.get(of) ?? new Set([of]);
    for (const other of groups.get(name) ?? [name]) group.add(other);
    for (const member of group) groups.set(member, group);
  }
  return [...new Set(groups.values())];
}
