import { quote } from "../../errors.ts";
import { type Fields, fieldsOf } from "../config.ts";
import { type Budget, Pattern } from "./pattern.ts";

/** Characters of one pattern, and of a name that patterns are tried on; states of all patterns: honest ones have far less. */
const MAX_TEXT = 1000;
const MAX_STATES = 1_000_000;
/** Work for all patterns and modules: some seconds, where honest ones take less than one. */
const MAX_WORK = 2e8;

/** What a rule says of a module: other settings, or that it is not quantised. */
export type Override = Fields | "skip";

interface Rule {
  readonly order: number;
  readonly pattern: Pattern;
  readonly override: Override;
}

/** Tells of a rule that cannot be followed. */
type Report = (text: string) => void;

/**
 * Settings of single modules. GPTQModel's `dynamic`: patterns that match from the start of the module's name on; those
 * with `-:` are for modules that are not quantised, and come first; the first that matches counts. AutoRound's
 * `extra_config`: names of modules, or patterns that match anywhere.
 */
export class ModuleRules {
  readonly #named = new Map<string, Omit<Rule, "pattern">>();
  readonly #rules: Rule[] = [];
  readonly #anywhere: boolean;
  readonly #report: Report;
  #states = 0;
  readonly #budget: Budget = { left: MAX_WORK };

  private constructor(anywhere: boolean, report: Report) {
    this.#anywhere = anywhere;
    this.#report = report;
  }

  /** @param dynamic patterns, with `-:` or `+:` in front or nothing, and what each changes */
  static ofDynamic(dynamic: Fields, report: Report): ModuleRules {
    const rules = new ModuleRules(false, report);
    const isSkip = ([text]: readonly [string, unknown]): boolean => text.startsWith("-:");
    const all = [...dynamic];
    for (const [text, value] of [...all.filter(isSkip), ...all.filter((one) => !isSkip(one))]) {
      const override = text.startsWith("-:") ? "skip" : fieldsOf(value);
      rules.#add(text.replace(/^[-+]:/, ""), override, text);
    }
    return rules;
  }

  /** @param isModule whether there is a module of this name: such a key is no pattern */
  static ofExtra(extra: Fields, isModule: (name: string) => boolean, report: Report): ModuleRules {
    const rules = new ModuleRules(true, report);
    for (const [text, value] of extra) {
      const override = fieldsOf(value);
      if (override && isModule(text)) rules.#named.set(text, { order: -1, override });
      else if (override?.size !== 0) rules.#add(text, override, text);
    }
    return rules;
  }

  /** What is said of a module, if anything is. */
  of(module: string): Override | undefined {
    const named = this.#named.get(module);
    if (this.#rules.length === 0 || module.length > MAX_TEXT) return named?.override;
    for (const { order, pattern, override } of this.#rules) {
      if (named && order > named.order) break;
      if (pattern.matches(module, this.#budget)) return override;
      if (this.#budget.left < 0) {
        this.#report("its patterns take too long: modules from here on are read without them");
        this.#rules.length = 0;
        break;
      }
    }
    return named?.override;
  }

  #add(text: string, override: Override | undefined, shown: string): void {
    const order = this.#rules.length + this.#named.size;
    if (!override) return this.#report(`the rule ${quote(shown)} has no settings, and is not followed`);
    // Most rules name one module: `^model\.layers\.0\.mlp$`.
    const name = /^\^((?:[\w-]|\\\.)+)\$$/.exec(text)?.[1]?.replaceAll("\\.", ".");
    if (name !== undefined && !this.#anywhere) {
      if (!this.#named.has(name)) this.#named.set(name, { order, override });
      return;
    }
    if (this.#states > MAX_STATES || text.length > MAX_TEXT)
      return this.#report(`the rule ${quote(shown)} is too long, or one too many, and is not followed`);
    try {
      const pattern = new Pattern(text, this.#anywhere);
      this.#states += pattern.size;
      this.#rules.push({ order, pattern, override });
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      this.#report(`the pattern of the rule ${quote(shown)} has ${error.message}, and is not followed`);
    }
  }
}
