import type { PartData } from "../../quant/weight.ts";
import type { Spool } from "./spool.ts";

/** A piece of work with a result of its own. */
export interface Step {
  /** Its name, by which the result is found. */
  readonly item: string;
  /** What it counts for in progress. */
  readonly bytes: number;
  run(): Promise<StepResult>;
}

export interface StepResult {
  /** Tensors of the output, by name. */
  readonly parts: Iterable<readonly [name: string, data: PartData]>;
  /** What else is to be known of it: plain JSON. */
  readonly note: unknown;
}

/** What runs steps. */
export interface StepOptions {
  readonly threads: number;
  readonly signal?: AbortSignal | undefined;
  /** Called after each step, whether it was run or found done. */
  readonly onStep: (step: Step, wasDone: boolean) => void;
}

/** Runs steps, some at a time, and puts the results into the spool; those that are there are not run again. */
export async function runSteps(spool: Spool, steps: readonly Step[], options: StepOptions): Promise<void> {
  const { threads, signal, onStep } = options;
  const waiting = steps.values();
  let writing: Promise<void> = Promise.resolve();
  let failed = false;
  const work = async (): Promise<void> => {
    for (const step of waiting) {
      if (failed) return;
      signal?.throwIfAborted();
      const wasDone = spool.has(step.item);
      if (!wasDone) {
        const { parts, note } = await step.run();
        // Results are written one after the other, in whatever order they come.
        writing = writing.then(() => spool.add(step.item, parts, note));
        await writing;
      }
      onStep(step, wasDone);
    }
  };
  const all = await Promise.allSettled(
    Array.from({ length: Math.max(1, threads) }, () =>
      work().catch((error) => {
        failed = true;
        throw error;
      }),
    ),
  );
  for (const one of all) if (one.status === "rejected") throw one.reason;
}
