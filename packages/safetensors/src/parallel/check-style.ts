import { quote } from "../errors.ts";
import { problem } from "./problem.ts";
import { type DetailedStyle, type Style, styleRule } from "./style.ts";

/** What a kind of style needs, and what it may have. */
interface Fields {
  readonly counts?: readonly string[];
  readonly optional?: readonly string[];
}

const KINDS: Readonly<Record<DetailedStyle["kind"], Fields>> = {
  plain: {},
  blocks: {},
  units: { counts: ["unit"] },
  heads: { counts: ["heads"], optional: ["headDim"] },
  key_value_heads: { counts: ["heads"], optional: ["headDim"] },
  fused_heads: { counts: ["heads", "keyValueHeads"], optional: ["headDim"] },
  vocabulary: { optional: ["multiple"] },
};

/** A style that may come from anywhere. `INVALID_SLICE` with the pattern and what was expected, if it is none. */
export function checkStyle(pattern: string, style: unknown): Style {
  if (typeof style === "string") {
    styleRule(style);
    return style as Style;
  }
  const fields = new Map(Object.entries(Object(style)));
  const kind = fields.get("kind");
  const known = new Map(Object.entries(KINDS)).get(kind as string);
  const problems: string[] = [];
  if (!known) problems.push(`"kind" is one of ${Object.keys(KINDS).join(", ")}`);
  if (!["out", "in"].includes(fields.get("along") as string)) problems.push('"along" is "out" or "in"');
  if (!["undefined", "boolean"].includes(typeof fields.get("transposed")))
    problems.push('"transposed" is true or false');
  for (const name of known?.counts ?? [])
    if (!isCount(fields.get(name))) problems.push(`"${name}" is a count`);
  for (const name of known?.optional ?? [])
    if (fields.has(name) && !isCount(fields.get(name))) problems.push(`"${name}" is a count`);
  if (kind === "fused_heads" && !["blocks", "groups"].includes(fields.get("order") as string))
    problems.push('"order" is "blocks" or "groups"');
  if (kind === "blocks" && !areBlocks(fields.get("blocks")))
    problems.push('"blocks" is a count or a list of counts');
  if (problems.length === 0) return style as Style;
  const shown = quote(JSON.stringify(style) ?? String(style));
  throw problem(
    `the style of ${quote(pattern)} is ${shown}; expected is the name of one, or that ${problems.join(", ")}`,
  );
}

function areBlocks(blocks: unknown): boolean {
  return Array.isArray(blocks) ? blocks.length > 0 && blocks.every(isCount) : isCount(blocks);
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) > 0;
}
