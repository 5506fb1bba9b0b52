import { constants } from "node:os";
import { errorColors } from "./output/terminal.ts";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * Runs work that cleans up after itself when it is stopped. The first signal stops it, and the exit code then says
 * which one it was (128 + its number, as shells have it); the second one ends the program at once.
 */
export async function interruptible(work: (signal: AbortSignal) => Promise<number>): Promise<number> {
  const controller = new AbortController();
  let code: number | undefined;
  for (const name of SIGNALS) {
    process.once(name, () => {
      code = 128 + constants.signals[name];
      controller.abort();
    });
  }
  try {
    return await work(controller.signal);
  } catch (error) {
    if (code === undefined) throw error;
    process.stderr.write(`${errorColors.yellow("stopped")}: nothing was written\n`);
    return code;
  }
}
