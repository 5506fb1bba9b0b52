import { type Disk, realDisk } from "../../../src/node/edit/disk.ts";

/** What is thrown at the moment of death, and by all that comes after it. */
export class Died extends Error {}

/** A disk that does so many steps and no more, as if the process had been killed then. */
export interface DyingDisk extends Disk {
  /** Steps done so far. */
  readonly steps: readonly string[];
}

/**
 * @param life steps that are done before the death.
 * @param last what is still done of the step in which it comes, if that is a write: the bytes that reach the file.
 */
export function dyingDisk(
  life: number,
  last: (fd: number, bytes: Uint8Array, offset: number) => void = () => {},
): DyingDisk {
  const steps: string[] = [];
  const step = <A extends unknown[], R>(name: string, action: (...given: A) => R) => {
    return (...given: A): R => {
      if (steps.length === life && name === "write")
        last(...(given as unknown as [number, Uint8Array, number]));
      if (steps.length >= life) {
        life = -1;
        throw new Died(`died in ${name}`);
      }
      steps.push(name);
      return action(...given);
    };
  };
  return {
    steps,
    create: step("create", realDisk.create),
    open: step("open", realDisk.open),
    write: step("write", realDisk.write),
    flush: step("flush", realDisk.flush),
    // A process that is gone has no open files.
    close: realDisk.close,
    link: step("link", realDisk.link),
    rename: step("rename", realDisk.rename),
    remove: step("remove", realDisk.remove),
    flushFolder: step("flushFolder", realDisk.flushFolder),
  };
}
