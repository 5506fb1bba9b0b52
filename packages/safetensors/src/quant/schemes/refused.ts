import type { Finder, ModuleTensors, Scheme } from "../scheme.ts";

/** A scheme that is known by its names only. */
interface Known {
  readonly scheme: string;
  /** What `quant_method` says. */
  readonly methods: readonly string[];
  /** Tensors that a module of it has, by what follows the last dot. */
  readonly has: readonly string[];
  /** All others that may belong to such a module. */
  readonly also: readonly string[];
  readonly why: string;
}

const FROM_DENSE = "take the model before quantisation, or one in GPTQ, AWQ or FP8";

const KNOWN: readonly Known[] = [
  {
    scheme: "exl3",
    methods: ["exl3"],
    has: ["trellis"],
    also: ["suh", "svh", "su", "sv", "mcg", "mul1"],
    why: `EXL3 has paths through a trellis, of rotated weights, in tiles for the tensor cores of CUDA devices: ${FROM_DENSE}`,
  },
  {
    scheme: "exl2",
    methods: ["exl2"],
    has: ["q_weight", "q_scale"],
    also: ["q_groups", "q_scale_max", "q_invperm", "q_perm", "q_group_map"],
    why: `EXL2 has rows of different bits in the order of ExLlama's kernel: ${FROM_DENSE}`,
  },
  {
    scheme: "marlin",
    methods: ["marlin"],
    has: ["B", "s"],
    also: ["workspace", "s2", "B_24", "B_meta", "meta"],
    why: "Marlin has its codes in tiles for the tensor cores of CUDA devices: take the GPTQ checkpoint that it was made from",
  },
  {
    scheme: "eetq",
    methods: ["eetq"],
    has: ["qweight", "weight_scales"],
    also: [],
    why: `EETQ interleaves its bytes for the CUDA architecture that made it: ${FROM_DENSE}`,
  },
  {
    scheme: "aqlm",
    methods: ["aqlm"],
    has: ["codes", "codebooks", "scales"],
    also: [],
    why: `AQLM has sums of vectors out of codebooks: ${FROM_DENSE}`,
  },
  {
    scheme: "vptq",
    methods: ["vptq"],
    has: ["indices"],
    also: ["perm", "weight_scale", "weight_bias", "res_indices", "outlier_indices"],
    why: `VPTQ has vectors out of codebooks: ${FROM_DENSE}`,
  },
  {
    scheme: "nunchaku",
    methods: ["svdquant", "nunchaku"],
    has: ["qweight", "wscales"],
    also: [
      "proj_down",
      "proj_up",
      "smooth_factor",
      "smooth_factor_orig",
      "wzeros",
      "wtscale",
      "wcscales",
      "lora_down",
      "lora_up",
      "smooth",
      "smooth_orig",
    ],
    why: `SVDQuant (nunchaku) adds two thin matrices to codes in tiles for the tensor cores of CUDA devices: ${FROM_DENSE}`,
  },
  {
    scheme: "quip#",
    methods: ["quip", "quip_sharp"],
    has: ["Qidxs"],
    also: ["SU", "SV", "Wscale", "codebook_id", "had_left", "had_right"],
    why: `QuIP# has points of a lattice, of rotated weights: ${FROM_DENSE}`,
  },
  {
    scheme: "spqr",
    methods: ["spqr"],
    has: ["dense_weights", "row_offsets"],
    also: ["col_vals", "in_perm"],
    why: `SpQR has quantised scales and sparse outliers in the order of its kernel: ${FROM_DENSE}`,
  },
  {
    scheme: "higgs",
    methods: ["higgs"],
    has: ["tables2"],
    also: ["scales", "tables", "weight"],
    why: `HIGGS has points of a grid, of rotated weights, in the order of FLUTE's kernel: ${FROM_DENSE}`,
  },
  {
    scheme: "fp_quant",
    methods: ["fp_quant"],
    has: ["forward_hadamard_matrix"],
    also: [
      "qweight",
      "dqweight",
      "scales",
      "weight_global_scale",
      "act_global_scale",
      "backward_hadamard_matrix",
    ],
    why: `FP-Quant has weights that are rotated in groups: ${FROM_DENSE}`,
  },
];

const VPTQ_CODEBOOKS = ["centroids.weight", "res_centroids.weight", "outlier_centroids.weight"];

/**
 * Schemes that are known by their names, and whose weights are not taken apart here: their layouts belong to one kind of
 * hardware, or are not published. Each is named with the reason, and with what to take instead.
 */
export const REFUSED: Scheme = {
  name: "refused",
  claims: ({ method }) => method !== undefined && KNOWN.some(({ methods }) => methods.includes(method)),
  find(finder) {
    const names = new Map<Known, string[]>();
    const method = finder.config?.method;
    const said = KNOWN.find(({ methods }) => method !== undefined && methods.includes(method));
    // A checkpoint that says so is refused even if its tensors have other names than those known.
    if (said) names.set(said, []);
    for (const [module, tensors] of finder.modules()) {
      const known = KNOWN.find((one) => isOf(one, finder, module, tensors));
      if (!known) continue;
      const stored = names.get(known) ?? [];
      names.set(known, stored);
      for (const name of namesOf(known, finder, module, tensors)) stored.push(name);
    }
    for (const [{ scheme, why }, stored] of names) finder.refuse(scheme, why, stored);
  },
};

function isOf({ scheme, has }: Known, finder: Finder, module: string, tensors: ModuleTensors): boolean {
  if (!has.every((last) => tensors.has(last))) return false;
  if (scheme === "vptq") return finder.tensor(`${module}.centroids.weight`) !== undefined;
  if (scheme === "marlin") return tensors.get("B")?.dtype === "I32";
  return true;
}

function namesOf(
  { scheme, has, also }: Known,
  finder: Finder,
  module: string,
  tensors: ModuleTensors,
): string[] {
  const beside = scheme === "vptq" ? VPTQ_CODEBOOKS.map((last) => finder.tensor(`${module}.${last}`)) : [];
  const inside = [...has, ...also].map((last) => tensors.get(last));
  return [...inside, ...beside].flatMap((tensor) => tensor?.name ?? []);
}
