import type { Scheme } from "../scheme.ts";
import { findPairs } from "./fp8-pairs.ts";

/** Mistral's consolidated files: `wq.weight` of F8, its scale `wq.qscale_weight`, and `wq.qscale_act` for inputs. */
export const MISTRAL: Scheme = {
  name: "mistral",
  claims: ({ method }) => method === "mistral",
  find(finder) {
    findPairs(finder, { scheme: "mistral", scalesFor: (last) => [`qscale_${last}`] });
  },
};
