import type { Comparison, TensorComparison, TensorOutline, ValueDifferences } from "safetensors.js/compare";
import { formatCount, formatShare, plural } from "./output/numbers.ts";
import { table } from "./output/table.ts";
import { outColors } from "./output/terminal.ts";
import { nameText } from "./output/text.ts";
import { formatValue } from "./output/values.ts";

/** Longest metadata value that is shown; of a longer one, the begin is. */
const SHOWN_VALUE = 60;

/** A comparison as JSON has it: of tensors that are identical, or were not read, only the number. */
export function comparisonJson({ tensors, ...others }: Comparison): object {
  const listed = tensors.filter(({ status }) => !isSilent(status));
  return {
    ...others,
    tensors: listed.map(({ values, ...tensor }) => ({
      ...tensor,
      ...(values && { values: valuesJson(values) }),
    })),
    counts: { ...Object.fromEntries(countStatuses(tensors)) },
  };
}

/** JSON has no infinity, and readers of it round large integers: these come as text. */
function valuesJson({ maxAbsolute, maxRelative, relativeError, ...counts }: ValueDifferences): object {
  const safe = (value: number | bigint): number | string =>
    Number.isFinite(Number(value)) && Math.abs(Number(value)) <= Number.MAX_SAFE_INTEGER
      ? Number(value)
      : String(value);
  return {
    ...counts,
    maxAbsolute: safe(maxAbsolute),
    maxRelative: safe(maxRelative),
    ...(relativeError !== undefined && { relativeError: safe(relativeError) }),
  };
}

/** A comparison for people: a line for each difference, then the sum. */
export function* comparisonLines(comparison: Comparison, a: string, b: string): Iterable<string> {
  const { same, onlyInA, onlyInB, metadata, tensors } = comparison;
  const rows = [
    ...metadata.map(({ key, a, b }) => ["~", "metadata", nameText(key), `${valueText(a)} → ${valueText(b)}`]),
    ...onlyInA.map((tensor) => ["-", nameText(tensor.name), outlineText(tensor), "only in a"]),
    ...onlyInB.map((tensor) => ["+", nameText(tensor.name), outlineText(tensor), "only in b"]),
    ...tensors.filter(({ status }) => !isSilent(status)).map(tensorRow),
  ];
  if (rows.length > 0) {
    yield outColors.dim(`a: ${nameText(a)}`);
    yield outColors.dim(`b: ${nameText(b)}`);
    for (const [index, line] of [...table([{}, {}, {}, {}], rows)].entries())
      yield styled(rows[index]![0]!, line);
  }
  const verdict = same ? outColors.green("same") : outColors.red("different");
  yield `${verdict}: ${[...summary(comparison)].join(", ")}`;
}

const isSilent = (status: TensorComparison["status"]): boolean =>
  status === "identical" || status === "unread";

function countStatuses(tensors: readonly TensorComparison[]): Map<TensorComparison["status"], number> {
  const counts = new Map<TensorComparison["status"], number>();
  for (const { status } of tensors) counts.set(status, (counts.get(status) ?? 0) + 1);
  return counts;
}

/** How the sum calls tensors of each status. */
const STATUS_TEXT: Readonly<Record<TensorComparison["status"], string>> = {
  identical: "identical",
  unread: "of the same dtype and shape",
  equal: "equal, in other bits",
  close: "within the tolerance",
  different: "of other values",
  incompatible: "of another dtype or shape",
};

function* summary({ onlyInA, onlyInB, metadata, tensors }: Comparison): Iterable<string> {
  const counts = countStatuses(tensors);
  for (const [status, text] of Object.entries(STATUS_TEXT)) {
    const count = counts.get(status as TensorComparison["status"]) ?? 0;
    if (count > 0) yield `${plural(count, "tensor")} ${text}`;
  }
  if (onlyInA.length > 0) yield `${formatCount(onlyInA.length)} only in a`;
  if (onlyInB.length > 0) yield `${formatCount(onlyInB.length)} only in b`;
  if (metadata.length > 0) yield `${plural(metadata.length, "metadata key")} changed`;
  if (tensors.length + onlyInA.length + onlyInB.length === 0) yield "no tensors";
}

function tensorRow({ name, a, b, status, values }: TensorComparison): string[] {
  const mark = status === "different" || status === "incompatible" ? "~" : "=";
  const [from, to] = [outlineText(a), outlineText(b)];
  const outline = from === to ? from : `${from} → ${to}`;
  return [mark, nameText(name), outline, values ? valuesText(values, a.shape) : ""];
}

function valuesText(values: ValueDifferences, shape: readonly number[]): string {
  const { elements, different, beyond, nan, maxAbsolute, maxRelative, relativeError, worst } = values;
  if (different === 0) return "equal values, other bits";
  const parts = [
    `${formatCount(different)} of ${formatCount(elements)} differ (${formatShare(different, elements)})`,
  ];
  if (beyond < different) parts.push(`${formatCount(beyond)} beyond the tolerance`);
  if (worst !== undefined) {
    const number = (value: number | bigint): string =>
      typeof value === "bigint" ? String(value) : formatValue(value);
    const place = shape.length > 0 ? ` at [${indexOf(worst, shape).join(", ")}]` : "";
    parts.push(`by up to ${number(maxAbsolute)}${place}, relative ${number(maxRelative)}`);
  }
  if (relativeError !== undefined) parts.push(`relative error ${formatValue(relativeError)}`);
  if (nan > 0) parts.push(`${formatCount(nan)} NaN`);
  return parts.join("; ");
}

/** The index of an element that is counted in row-major order. */
function indexOf(element: number, shape: readonly number[]): number[] {
  let rest = element;
  return shape
    .toReversed()
    .map((size) => {
      const index = rest % size;
      rest = Math.floor(rest / size);
      return index;
    })
    .toReversed();
}

const outlineText = ({ dtype, shape }: Omit<TensorOutline, "name">): string =>
  `${dtype} [${shape.join(", ")}]`;

function valueText(value: string | undefined): string {
  if (value === undefined) return "nothing";
  return nameText(value.length > SHOWN_VALUE ? `${value.slice(0, SHOWN_VALUE)}…` : value);
}

function styled(mark: string, line: string): string {
  if (mark === "-") return outColors.red(line);
  if (mark === "+") return outColors.green(line);
  return mark === "~" ? outColors.yellow(line) : outColors.dim(line);
}
