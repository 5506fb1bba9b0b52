import type { LeftOut } from "safetensors.js/torch";
import type { PickleSummary } from "../pickle-report.ts";
import { formatCount, plural } from "./numbers.ts";
import { outColors } from "./terminal.ts";
import { nameText } from "./text.ts";

/** A line of a list of facts: its title, and what there is to say. */
export type Fact = readonly [title: string, text: string];

/** A fact of several lines: the first items of a list, and how many more there are. */
export function* listed<T>(
  title: string,
  items: readonly T[],
  limit: number,
  show: (item: T) => string,
  total: number = items.length,
): Iterable<Fact> {
  const shown = items.slice(0, limit);
  for (const [index, item] of shown.entries()) yield [index === 0 ? title : "", show(item)];
  if (total > shown.length) yield ["", outColors.dim(`and ${formatCount(total - shown.length)} more`)];
}

/** What a PyTorch file asked for, and what of it is not taken. */
export function* pickleFacts(pickle: PickleSummary, limit: number): Iterable<Fact> {
  if (pickle.container !== "") yield ["taken from", nameText(pickle.container)];
  yield* leftOut("left out", pickle.leftOut, limit);
  yield* leftOut(pickle.leftOut.count === 0 ? "left out" : "", pickle.tensorsOutside, limit);
  yield* leftOut("remade", pickle.remade, limit);
  const names = plural(pickle.globals.length, "Python name");
  yield [
    "pickle",
    `${pickle.forms.join(", ")} file, ${plural(pickle.opcodes, "opcode")}, ${names} asked for, none run`,
  ];
}

function leftOut(title: string, { count, listed: items }: LeftOut, limit: number): Iterable<Fact> {
  return listed(title, items, limit, ({ path, kind }) => `${nameText(path)} (${nameText(kind)})`, count);
}
