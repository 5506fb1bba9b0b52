import type { KernelModule } from "../../../kernels/module.ts";
import { plainRuns, type RunKernels } from "./runs.ts";

/** Elements that are in the kernels' memory at a time, or one run: they and their codes fit a core's second cache. */
const PANEL = 1 << 15;

/** The longest run that is copied there, so that the memory stays small. */
const LONGEST = 1 << 20;

/** What `plainRuns` gives, by kernels in WebAssembly. Runs that are too long are left to it. */
export function runsBy(module: KernelModule): RunKernels {
  const { functions } = module;

  /** Passes through values in panels of whole runs, which are copied into the memory. */
  function eachPanel(
    values: Float32Array,
    length: number,
    reserve: (runs: number) => (address: number, first: number, runs: number) => void,
  ): void {
    module.clear();
    const most = Math.min(values.length / length, Math.max(1, Math.floor(PANEL / length)));
    // A cast goes on to the next multiple of 16.
    const address = module.reserve(most * length * 4 + 64);
    const act = reserve(most);
    for (let first = 0; first * length < values.length; first += most) {
      const part = values.subarray(first * length, (first + most) * length);
      module.floats(address, part.length).set(part);
      act(address, first, part.length / length);
    }
  }

  /** Codes after each run is brought to a scale of its own, in its place. */
  function toE4M3(
    values: Float32Array,
    length: number,
    numbers: Float32Array,
    scale: (values: number, runs: number, length: number, numbers: number) => void,
  ): Uint8Array {
    const codes = new Uint8Array(values.length);
    eachPanel(values, length, (most) => {
      const own = module.reserve(most * 4);
      const out = module.reserve(most * length + 16);
      return (address, first, runs) => {
        module.floats(own, runs).set(numbers.subarray(first, first + runs));
        scale(address, runs, length, own);
        functions.f32ToE4M3(address, out, runs * length);
        codes.set(module.bytes(out, runs * length), first * length);
      };
    });
    return codes;
  }

  const kernels: RunKernels = {
    areFinite(values) {
      module.clear();
      const address = module.reserve(PANEL * 4);
      const out = module.reserve(4);
      for (let at = 0; at < values.length; at += PANEL) {
        const part = values.subarray(at, at + PANEL);
        module.floats(address, part.length).set(part);
        functions.largestOfRuns(address, 1, part.length, out);
        if (!Number.isFinite(module.floats(out, 1)[0])) return false;
      }
      return true;
    },

    largest(values, length) {
      const found = new Float32Array(values.length / length);
      eachPanel(values, length, (most) => {
        const out = module.reserve(most * 4);
        return (address, first, runs) => {
          functions.largestOfRuns(address, runs, length, out);
          found.set(module.floats(out, runs), first);
        };
      });
      return found;
    },

    ranges(values, length) {
      const min = new Float32Array(values.length / length);
      const max = new Float32Array(min.length);
      eachPanel(values, length, (most) => {
        const [least, greatest] = [module.reserve(most * 4), module.reserve(most * 4)];
        return (address, first, runs) => {
          functions.rangesOfRuns(address, runs, length, least, greatest);
          min.set(module.floats(least, runs), first);
          max.set(module.floats(greatest, runs), first);
        };
      });
      return { min, max };
    },

    divideToE4M3: (values, length, divisors) => toE4M3(values, length, divisors, functions.divideRuns),

    multiplyToE4M3: (values, length, factors) => toE4M3(values, length, factors, functions.multiplyRuns),

    codes(values, length, { scales, before, after }, top) {
      const codes = new Uint8Array(values.length);
      eachPanel(values, length, (most) => {
        const numbers = [scales, before, after].map((array) => [array, module.reserve(most * 4)] as const);
        const [s, b, a] = numbers.map(([, at]) => at) as [number, number, number];
        const out = module.reserve(most * length);
        return (address, first, runs) => {
          for (const [array, at] of numbers) module.floats(at, runs).set(array.subarray(first, first + runs));
          functions.codesOfRuns(address, runs, length, s, b, a, top, out);
          codes.set(module.bytes(out, runs * length), first * length);
        };
      });
      return codes;
    },
  };

  const by = (length: number): RunKernels => (length > LONGEST ? plainRuns : kernels);
  return {
    areFinite: kernels.areFinite,
    largest: (values, length) => by(length).largest(values, length),
    ranges: (values, length) => by(length).ranges(values, length),
    divideToE4M3: (values, length, divisors) => by(length).divideToE4M3(values, length, divisors),
    multiplyToE4M3: (values, length, factors) => by(length).multiplyToE4M3(values, length, factors),
    codes: (values, length, steps, top) => by(length).codes(values, length, steps, top),
  };
}
