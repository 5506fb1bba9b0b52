import picocolors from "picocolors";

/** The styles of picocolors. */
export type Colors = ReturnType<typeof picocolors.createColors>;

/** Colours for what goes to standard output. */
export const outColors: Colors = picocolors.createColors(hasColors(process.stdout));

/** Colours for what goes to standard error. */
export const errorColors: Colors = picocolors.createColors(hasColors(process.stderr));

/** Each stream for itself: one may be a terminal and the other a file. See no-color.org and force-color.org. */
function hasColors(stream: NodeJS.WriteStream): boolean {
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env;
  if (NO_COLOR) return false;
  if (FORCE_COLOR !== undefined) return FORCE_COLOR !== "0" && FORCE_COLOR !== "false";
  return stream.isTTY === true && TERM !== "dumb";
}

/** Text that is written at once. */
const BATCH_LENGTH = 64 << 10;

/** Writes lines to standard output, without holding them all, as fast as they are taken. */
export async function printLines(lines: Iterable<string>): Promise<void> {
  let batch = "";
  for (const line of lines) {
    batch += `${line}\n`;
    if (batch.length < BATCH_LENGTH) continue;
    await write(batch);
    batch = "";
  }
  if (batch) await write(batch);
}

/** Writes bytes to standard output; they may be changed when this is done. */
export function writeBytes(bytes: Uint8Array): Promise<void> {
  return write(bytes);
}

function write(data: string | Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    process.stdout.write(data, () => resolve());
  });
}

/**
 * Lets a reader such as `head`, or the terminal, go away: what is still written then is dropped, the command runs on to its exit code.
 * Without a handler, Node ends with a stack trace.
 */
export function ignoreClosedPipes(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE" && error.code !== "EIO") throw error;
    });
  }
}
