import { quote } from "../../errors.ts";
import { type Fields, fieldsOf, type QuantConfig } from "../config.ts";
import type { Finder } from "../scheme.ts";
import { ModuleRules } from "./gptq-rules.ts";

/** How the weight of one module is quantised, as far as the configuration says. */
export interface GptqSettings {
  readonly bits: number | undefined;
  /** Inputs of a group; -1: all of them. */
  readonly group: number | undefined;
  /** Whether groups are not of neighbours (`desc_act`). */
  readonly actOrder: boolean | undefined;
  readonly symmetric: boolean | undefined;
}

/** What a configuration says of tensors called `qweight`. */
export interface GptqConfig {
  /** The scheme that it is for; nothing if for another one, or if there is no configuration. */
  readonly scheme: "gptq" | "awq" | undefined;
  /** The layout, as it is called there, in small letters. */
  readonly format: string | undefined;
  /** Where it is said, for people. */
  readonly place: string;
  /** Whether AutoRound wrote it, whose codes of 5 to 7 bits are no planes. */
  readonly isAutoRound: boolean;
  readonly settings: GptqSettings;
  /** `zero_point` of AWQ: without it there are no zeros, and 8 is taken off. */
  readonly hasZeros: boolean | undefined;
  readonly rules: ModuleRules | undefined;
}

const GPTQ_METHODS: ReadonlySet<string> = new Set(["gptq", "gptqmodel", "marlin", "bitblas", "qqq"]);
const AWQ_METHODS: ReadonlySet<string> = new Set(["awq", "llm-awq"]);

/** Layouts of AutoRound (`packing_format`) that are GPTQ, by the names that GPTQModel has for them. */
const AUTO_ROUND_FORMATS: ReadonlyMap<string, string> = new Map([
  ["auto_round", "gptq_v2"],
  ["auto_round:gptqmodel", "gptq_v2"],
  ["auto_round:gptq", "gptq"],
  ["auto_round:auto_gptq", "gptq"],
  ["auto", "gptq"],
]);

/** The scheme that a configuration is for: GPTQ, AWQ or another. */
export function schemeOf(config: QuantConfig): "gptq" | "awq" | undefined {
  const { method, fields } = config;
  if (method === undefined) return undefined;
  if (isAutoRound(method)) {
    const format = textIn(fields, "packing_format") ?? "auto";
    return format.includes("awq") ? "awq" : AUTO_ROUND_FORMATS.has(format) ? "gptq" : undefined;
  }
  return GPTQ_METHODS.has(method) ? "gptq" : AWQ_METHODS.has(method) ? "awq" : undefined;
}

/**
 * Reads a configuration of GPTQ, AWQ or AutoRound. Names of fields: AutoGPTQ, GPTQModel, AutoAWQ, llm-awq.
 *
 * @param report is told what of it cannot be used
 */
export function gptqConfigOf(finder: Finder, report: (text: string) => void): GptqConfig {
  const { config } = finder;
  const scheme = config && schemeOf(config);
  const fields: Fields = scheme ? config.fields : new Map();
  const isRound = scheme !== undefined && isAutoRound(config?.method);
  const defaults = { bits: undefined, group: undefined, actOrder: undefined, symmetric: undefined };
  const isModule = (name: string): boolean => {
    return ["qweight", "weight"].some((last) => finder.tensor(`${name}.${last}`) !== undefined);
  };
  const dynamic = fieldsOf(fields.get("dynamic"));
  const extra = isRound ? fieldsOf(fields.get("extra_config")) : undefined;
  const rules = dynamic
    ? ModuleRules.ofDynamic(dynamic, report)
    : extra && ModuleRules.ofExtra(extra, isModule, report);
  return {
    scheme,
    format: isRound ? autoRoundFormat(fields) : formatIn(fields, config?.method),
    place: config?.place ?? "no configuration",
    isAutoRound: isRound,
    settings: settingsIn(fields, isRound ? { ...defaults, actOrder: false } : defaults, report),
    hasZeros: flagIn(fields, "zero_point"),
    rules,
  };
}

/** Settings of a module, after the rules; `skip` if it is said not to be quantised. */
export function settingsOf(
  config: GptqConfig,
  module: string,
  report: (text: string) => void,
): GptqSettings | "skip" {
  const override = config.rules?.of(module);
  if (override === undefined) return config.settings;
  if (override === "skip") return override;
  const settings = settingsIn(override, config.settings, report);
  return (settings.bits ?? 0) >= 16 ? "skip" : settings;
}

function settingsIn(fields: Fields, defaults: GptqSettings, report: (text: string) => void): GptqSettings {
  function numberIn(
    names: readonly string[],
    least: number,
    otherwise: number | undefined,
  ): number | undefined {
    const name = names.find((one) => fields.has(one) && fields.get(one) !== null);
    if (name === undefined) return otherwise;
    const value = fields.get(name);
    if (Number.isSafeInteger(value) && (value as number) >= least && value !== 0) return value as number;
    const shown = typeof value === "object" ? "no number" : quote(String(value));
    report(`${name} is ${shown}, expected a whole number: it is taken from the shapes`);
    return undefined;
  }
  return {
    bits: numberIn(["bits", "w_bit"], 1, defaults.bits),
    group: numberIn(["group_size", "q_group_size"], -1, defaults.group),
    actOrder: flagIn(fields, "desc_act") ?? defaults.actOrder,
    symmetric: flagIn(fields, "sym") ?? defaults.symmetric,
  };
}

function formatIn(fields: Fields, method: string | undefined): string | undefined {
  if (flagIn(fields, "is_marlin_format")) return "marlin";
  const said = textIn(fields, "checkpoint_format") ?? textIn(fields, "format") ?? textIn(fields, "version");
  const isOwn = method === "marlin" || method === "bitblas" || method === "qqq";
  return said ?? (isOwn ? method : undefined);
}

function autoRoundFormat(fields: Fields): string | undefined {
  const said = textIn(fields, "packing_format") ?? "auto";
  return AUTO_ROUND_FORMATS.get(said) ?? "gemm";
}

function isAutoRound(method: string | undefined): boolean {
  return method === "auto-round" || method === "auto_round" || method === "intel/auto-round";
}

function textIn(fields: Fields, name: string): string | undefined {
  const value = fields.get(name);
  return typeof value === "string" ? value.toLowerCase() : undefined;
}

function flagIn(fields: Fields, name: string): boolean | undefined {
  const value = fields.get(name);
  return typeof value === "boolean" ? value : undefined;
}
