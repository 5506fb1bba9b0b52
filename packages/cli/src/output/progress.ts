import { SingleBar } from "cli-progress";
import { formatBytes, formatSeconds } from "./numbers.ts";
import { errorColors } from "./terminal.ts";
import { nameText } from "./text.ts";

/** A bar that shows bytes on standard error; nothing at all where that is no terminal. */
export interface Progress {
  update(done: number, total: number, file: string): void;
  /** Takes the bar away. */
  stop(): void;
}

const BAR_WIDTH = 28;

/** Starts a bar, if it is wanted; it shows with the first update. */
export function startProgress(wanted: boolean): Progress {
  if (!wanted || !process.stderr.isTTY) return { update() {}, stop() {} };
  const isWatched = process.listenerCount("SIGINT") > 0;
  let started: number | undefined;
  const bar = new SingleBar({
    stream: process.stderr,
    clearOnComplete: true,
    // Where Ctrl-C ends the program at once, nobody would put the terminal back as it was.
    hideCursor: isWatched,
    linewrap: !isWatched,
    format(_options, { value, total }, { file }: { file: string }) {
      const seconds = (performance.now() - (started ?? 0)) / 1000;
      const share = total === 0 ? 1 : value / total;
      const filled = Math.round(share * BAR_WIDTH);
      const drawn = errorColors.cyan("━".repeat(filled)) + errorColors.dim("─".repeat(BAR_WIDTH - filled));
      const percent = `${Math.floor(share * 100)}`.padStart(3);
      const amount = `${formatBytes(value)} of ${formatBytes(total)}`;
      const speed = seconds > 0 ? `${formatBytes(value / seconds)}/s` : "";
      const left = share > 0 && seconds > 1 ? `${formatSeconds(seconds / share - seconds)} left` : "";
      return [`  ${drawn} ${percent} %`, amount, speed, left, errorColors.dim(file)]
        .filter(Boolean)
        .join("  ");
    },
  });
  return {
    update(done, total, file) {
      const payload = { file: nameText(file) };
      if (started === undefined) {
        started = performance.now();
        bar.start(total, done, payload);
      } else {
        bar.update(done, payload);
      }
    },
    stop() {
      if (started !== undefined) bar.stop();
    },
  };
}
