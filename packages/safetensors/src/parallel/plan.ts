import { type Cut, WHOLE } from "../view/cut.ts";
import { checkStyle } from "./check-style.ts";
import { BASE_PREFIXES, genericName, genericNameOfRuns } from "./names.ts";
import { problem } from "./problem.ts";
import { type ShardOptions, type Style, shardTensor } from "./style.ts";

/** Styles by the modules or tensors that they are for; in those, `*` stands for a number between dots. */
export type PlanRules = Iterable<readonly [pattern: string, style: Style]> | Readonly<Record<string, Style>>;

/** How names are looked up. */
export interface PlanOptions {
  /** Parts before the names of a base model, without dots, which patterns and names may have or not. */
  readonly prefixes?: readonly string[];
  /** What a star stands for: a number between dots, or (transformers before 5.16) any run of digits. */
  readonly star?: "number" | "digits";
}

/** What a plan did not do for a list of tensors. */
export interface PlanReport {
  /** Patterns that are no tensor's and no module's. */
  readonly unused: readonly string[];
  /** Tensors that no pattern is for: they are whole in every rank. */
  readonly whole: readonly string[];
}

/**
 * A plan of tensor parallelism in the language of transformers: `{"layers.*.self_attn.q_proj": "colwise", …}`. A
 * tensor's own name counts before its module's; what no pattern is for is replicated.
 */
export class ParallelPlan {
  /** The patterns and their styles, as they were given. */
  readonly rules: ReadonlyMap<string, Style>;
  /** The same by all forms of the patterns. */
  readonly #styles = new Map<string, Style>();
  readonly #prefixes: ReadonlySet<string>;
  readonly #generic: (name: string) => string;

  /** Throws `INVALID_SLICE` for an unknown style; all known ones are listed. */
  constructor(rules: PlanRules, { prefixes = BASE_PREFIXES, star = "number" }: PlanOptions = {}) {
    this.#prefixes = new Set(prefixes);
    this.#generic = star === "number" ? genericName : genericNameOfRuns;
    this.rules = new Map(Symbol.iterator in rules ? rules : Object.entries(rules));
    for (const [pattern, style] of this.rules) this.#styles.set(pattern, checkStyle(pattern, style));
    for (const [pattern, style] of this.rules)
      for (const form of this.#formsOf(pattern)) if (!this.#styles.has(form)) this.#styles.set(form, style);
  }

  /** The style of a tensor, if a pattern is for it. */
  styleOf(name: string): Style | undefined {
    for (const form of this.#formsOf(this.#generic(name))) {
      const style = this.#styles.get(form) ?? this.#styles.get(parentOf(form));
      if (style !== undefined) return style;
    }
    return undefined;
  }

  /** What a rank has of a tensor. Throws as `shardTensor`. */
  cut(name: string, shape: readonly number[], options: ShardOptions): Cut {
    const style = this.styleOf(name);
    return style === undefined ? WHOLE : shardTensor(name, shape, style, options);
  }

  /** What of the plan, and of these tensors, was left over. */
  report(names: Iterable<string>): PlanReport {
    const whole: string[] = [];
    const seen = new Set<string>();
    for (const name of names) {
      if (this.styleOf(name) === undefined) whole.push(name);
      for (const form of this.#formsOf(this.#generic(name)))
        for (let at = form; at !== "" && !seen.has(at); at = parentOf(at)) seen.add(at);
    }
    const isUsed = (pattern: string): boolean => this.#formsOf(pattern).some((form) => seen.has(form));
    return { unused: [...this.rules.keys()].filter((pattern) => !isUsed(pattern)), whole };
  }

  /** A name, and the same without the parts of a base model's prefix, one after the other. */
  #formsOf(name: string): string[] {
    const forms = [name];
    for (let rest = name, dot = rest.indexOf("."); dot > 0; dot = rest.indexOf(".")) {
      if (!this.#prefixes.has(rest.slice(0, dot))) break;
      rest = rest.slice(dot + 1);
      forms.push(rest);
    }
    return forms;
  }
}

/**
 * A plan out of parsed JSON: an object of patterns and styles, as transformers writes its `base_model_tp_plan`.
 * Styles of ours are objects in it.
 *
 * @throws `INVALID_SLICE`
 */
export function parsePlan(value: unknown, options?: PlanOptions): ParallelPlan {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw problem("a plan is an object of patterns and styles");
  return new ParallelPlan(Object.entries(value) as [string, Style][], options);
}

function parentOf(name: string): string {
  return name.slice(0, Math.max(0, name.lastIndexOf(".")));
}
