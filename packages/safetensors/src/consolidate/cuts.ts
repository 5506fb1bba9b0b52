import { quote, SafetensorsError } from "../errors.ts";

/** How a tensor was distributed over the ranks. */
export type CutRule =
  /** Cut along this axis, in the order of the ranks; negative ones count from the last. */
  | number
  /** Whole in every rank. */
  | "replicated"
  /** Several matrices in one, such as gate and up or q, k and v: each is cut along the axis on its own. */
  | {
      readonly axis: number;
      /** How many matrices of the same size, or their sizes as ratios: `[32, 8, 8]`. */
      readonly blocks: number | readonly number[];
    };

/** Rules by the names that they are for; in those, `*` stands for one part between dots: `layers.*.mlp.up_proj.weight`. */
export type CutRules =
  | Iterable<readonly [pattern: string, rule: CutRule]>
  | Readonly<Record<string, CutRule>>;

/** Most matrices in one: packed experts apart, nothing has more than q, k, v and their gates. */
const MAX_BLOCKS = 1024;

/**
 * Reads rules from JSON: `{"layers.*.self_attn.q_proj.weight": 0, "layers.*.mlp.gate_up_proj.weight": {"axis": 0,
 * "blocks": 2}, "norm.weight": "replicated"}`.
 *
 * @throws `INVALID_JSON`, `INVALID_SLICE` for what is no rule
 */
export function parseCuts(json: string): Map<string, CutRule> {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    throw new SafetensorsError("INVALID_JSON", `the rules are not JSON: ${(cause as Error).message}`, {
      cause,
    });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new SafetensorsError("INVALID_SLICE", "the rules are no object of names and rules");
  }
  const rules = new Map<string, CutRule>();
  for (const [pattern, rule] of Object.entries(value)) rules.set(pattern, checkRule(pattern, rule));
  return rules;
}

function checkRule(pattern: string, rule: unknown): CutRule {
  if (rule === "replicated" || Number.isSafeInteger(rule)) return rule as CutRule;
  const { axis, blocks } = Object(rule) as { axis?: unknown; blocks?: unknown };
  const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) > 0;
  const areBlocks = Array.isArray(blocks)
    ? blocks.length > 0 && blocks.length <= MAX_BLOCKS && blocks.every(isCount)
    : isCount(blocks) && (blocks as number) <= MAX_BLOCKS;
  if (Number.isSafeInteger(axis) && areBlocks) return { axis, blocks } as CutRule;
  const expected = 'an axis, "replicated" or {"axis": …, "blocks": a number or a list of sizes}';
  const text = `the rule for ${quote(pattern)} is ${quote(JSON.stringify(rule) ?? String(rule))}; expected ${expected}`;
  throw new SafetensorsError("INVALID_SLICE", text);
}

/** Rules that can be looked up, and that know which of them were of use. */
export class CutMap {
  readonly #exact = new Map<string, CutRule>();
  readonly #patterns: { readonly text: string; readonly parts: readonly string[]; readonly rule: CutRule }[] =
    [];
  readonly #unused = new Set<string>();

  /** Throws `INVALID_SLICE` for what is no rule. */
  constructor(rules: CutRules = []) {
    for (const [text, rule] of Symbol.iterator in rules ? rules : Object.entries(rules)) {
      checkRule(text, rule);
      const parts = text.split(".");
      if (parts.includes("*")) this.#patterns.push({ text, parts, rule });
      else this.#exact.set(text, rule);
      this.#unused.add(text);
    }
  }

  /** The rules that no name has matched so far. */
  get unused(): readonly string[] {
    return [...this.#unused];
  }

  /**
   * The rule for a tensor: the one with its very name, or that of a pattern.
   *
   * @throws `AMBIGUOUS` if two patterns match and say different things
   */
  find(name: string): CutRule | undefined {
    const exact = this.#exact.get(name);
    if (exact !== undefined) this.#unused.delete(name);
    const parts = name.split(".");
    const matching = this.#patterns.filter((pattern) => matches(pattern.parts, parts));
    for (const { text } of matching) this.#unused.delete(text);
    if (exact !== undefined) return exact;
    const [first, ...others] = matching;
    const other = others.find(({ rule }) => JSON.stringify(rule) !== JSON.stringify(first!.rule));
    if (!other) return first?.rule;
    const text = `the rules ${quote(first!.text)} and ${quote(other.text)} say different things of tensor ${quote(name)}`;
    throw new SafetensorsError("AMBIGUOUS", text, { tensor: name });
  }
}

function matches(pattern: readonly string[], parts: readonly string[]): boolean {
  return pattern.length === parts.length && pattern.every((part, i) => part === "*" || part === parts[i]);
}

/** A pattern for a tensor and its like in other layers: every number becomes a star. */
export function patternFor(name: string): string {
  return name
    .split(".")
    .map((part) => (/^\d+$/.test(part) ? "*" : part))
    .join(".");
}
