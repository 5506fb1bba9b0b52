import { type Fields, fieldsOf, type QuantConfig } from "../../config.ts";
import type { Finder } from "../../scheme.ts";
import type { Block } from "../scale-grid.ts";
import { Targets } from "./patterns.ts";

/** How the weights of a group are quantised, as far as the configuration says so. */
export interface WeightArgs {
  readonly bits: number | undefined;
  readonly type: "int" | "float" | undefined;
  readonly symmetric: boolean | undefined;
  readonly group: number | undefined;
  readonly block: Block | undefined;
  /** Whether columns have an order of their own, `weight_g_idx` (`actorder: group`). */
  readonly hasOrder: boolean;
}

/** What a configuration of compressed-tensors says of modules. */
export interface GroupsConfig {
  /** The arguments for a module, of the group that it belongs to. */
  argsOf(module: string): WeightArgs;
  isIgnored(module: string): boolean;
  /** Whether the version that wrote it packs codes densely; nothing if it is not known. */
  readonly packsDensely: boolean | undefined;
}

interface Group {
  readonly args: WeightArgs;
  readonly targets: Targets;
}

const NOTHING: WeightArgs = {
  bits: undefined,
  type: undefined,
  symmetric: undefined,
  group: undefined,
  block: undefined,
  hasOrder: false,
};

/** Places of patterns tried for all modules: some seconds, where honest ones take far less than one. */
const MAX_WORK = 3e8;

/** Reads `config_groups`, `ignore` and `version`. What cannot be used is a problem. */
export function groupsOf(finder: Finder, config: QuantConfig | undefined): GroupsConfig {
  const fields: Fields = config?.fields ?? new Map();
  if (fieldsOf(fieldsOf(fields.get("transform_config"))?.get("config_groups"))?.size)
    finder.problem(
      `${config!.place}.transform_config`,
      "says that inputs are transformed before they meet weights: the dense weights need the same",
    );
  const budget = { left: MAX_WORK };
  const read = (value: unknown, where: string): Targets =>
    new Targets(value, budget, (text) => finder.problem(`${config!.place}.${where}`, text));
  const groups: Group[] = [];
  for (const [name, value] of fieldsOf(fields.get("config_groups")) ?? []) {
    const group = fieldsOf(value);
    const weights = fieldsOf(group?.get("weights"));
    if (!group || !weights) continue;
    const targets = read(group.get("targets"), `config_groups.${name.slice(0, 60)}.targets`);
    groups.push({ targets, args: argsOf(weights) });
  }
  const ignored = read(fields.get("ignore"), "ignore");
  // A module belongs to the first group that names it, and else to the first that has its class.
  const argsFor = (module: string): WeightArgs => {
    const chosen =
      groups.find(({ targets }) => targets.names(module)) ??
      groups.find(({ targets }) => targets.classes(module)) ??
      (groups.length === 1 ? groups[0] : undefined);
    return chosen?.args ?? NOTHING;
  };
  const packsDensely = isDenseVersion(fields.get("version"));
  return { argsOf: argsFor, isIgnored: (module) => ignored.names(module), packsDensely };
}

/** compressed-tensors packs codes densely from 0.18.0 on (its pull request 715). */
function isDenseVersion(version: unknown): boolean | undefined {
  const [, major, minor] = /^(\d{1,4})\.(\d{1,4})\b/.exec(textOf(version) ?? "") ?? [];
  return major === undefined ? undefined : Number(major) > 0 || Number(minor) >= 18;
}

function argsOf(weights: Fields): WeightArgs {
  const symmetric = weights.get("symmetric");
  const group = sizeOf(weights.get("group_size"));
  const type = textOf(weights.get("type"))?.toLowerCase();
  const structure = weights.get("block_structure");
  const sizes: unknown[] =
    typeof structure === "string" ? structure.split("x").map(Number) : listOf(structure);
  const [rows, columns] = sizes.map(sizeOf);
  const block: Block | undefined = rows && columns ? [rows, columns] : undefined;
  return {
    bits: sizeOf(weights.get("num_bits")),
    type: type === "int" || type === "float" ? type : undefined,
    symmetric: typeof symmetric === "boolean" ? symmetric : undefined,
    group,
    block: block ?? (group === undefined ? undefined : [1, group]),
    // True and "dynamic" are older names of it.
    hasOrder: [true, "group", "dynamic"].includes(weights.get("actorder") as string),
  };
}

function sizeOf(value: unknown): number | undefined {
  return Number.isSafeInteger(value) && (value as number) > 0 ? (value as number) : undefined;
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}
