import type { Recipe } from "./recipe.ts";
import { falconQkv, gateUpFused, phi3Fused } from "./recipes/attention.ts";
import { gptOssGateUp, mixtralExperts, qwenExperts } from "./recipes/experts.ts";
import { gpt2Linear, metaLlama } from "./recipes/families.ts";

const ALL: readonly Recipe[] = [
  falconQkv,
  gateUpFused,
  gpt2Linear,
  gptOssGateUp,
  metaLlama,
  mixtralExperts,
  phi3Fused,
  qwenExperts,
];

/** Recipes for conversions that people need, by name. All of them work in reverse too. */
export const RECIPES: ReadonlyMap<string, Recipe> = new Map(ALL.map((recipe) => [recipe.name!, recipe]));
