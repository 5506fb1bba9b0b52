import { constants } from "node:os";
import { errorColors } from "./output/terminal.ts";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * Runs work that cleans up after itself when it is stopped. The first signal stops it, and the exit code then says
 * which one it was (128 + its number, as shells have it); the second one ends the program at once.
 *
 * @param left what is left of it when it is stopped, for its user.
 */
export async function interruptible(
  work: (signal: AbortSignal) => Promise<number>,
  left = "nothing was written",
): Promise<number> {
  const controller = new AbortController();
  let code: number | undefined;
  const stop = (name: NodeJS.Signals): void => {
    code = 128 + constants.signals[name];
    controller.abort();
  };
  for (const name of SIGNALS) process.once(name, stop);
  try {
    return await work(controller.signal);
  } catch (error) {
    if (code === undefined) throw error;
    process.stderr.write(`${errorColors.yellow("stopped")}: ${left}\n`);
    return code;
  } finally {
    for (const name of SIGNALS) process.off(name, stop);
  }
}
