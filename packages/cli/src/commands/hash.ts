import { createHash } from "node:crypto";
import { join } from "node:path";
import type { Command } from "commander";
import { SafetensorsError } from "safetensors.js";
import { hashTensors } from "safetensors.js/manifest";
import {
  type HashedCheckpoint,
  hashCheckpoint,
  manifestPath,
  recordDigests,
  writeManifest,
} from "safetensors.js/node";
import { isAddress } from "../address.ts";
import { expandInputs, INPUTS } from "../inputs.ts";
import { interruptible } from "../interrupt.ts";
import { openFiles } from "../open-files.ts";
import { EXIT, errorJson, exitCodeOf, fail } from "../output/failure.ts";
import { type Progress, startProgress } from "../output/progress.ts";
import { errorColors, printLines } from "../output/terminal.ts";
import { nameText, toJson } from "../output/text.ts";

interface HashOptions {
  readonly tensors?: true;
  readonly write?: true;
  readonly metadata?: true;
  readonly json?: true;
  readonly quiet?: true;
}

const HELP = `
The digest of a tensor is that of its values in row-major order, as little-endian bytes. It is the
same in whatever file, format or order the tensor lies: compare two checkpoints by
  diff <(safetensors hash a/ --tensors | sort) <(safetensors hash b/ --tensors | sort)

--write records both kinds in a manifest beside the checkpoint: model.safetensors.manifest.json.
Later: safetensors check model.safetensors --manifest model.safetensors.manifest.json

--metadata records the digests of tensors and of the data in the header of each file, in place if
there is room. Later: safetensors check model.safetensors --digests

JSON:
  { results: [{ input, files: [{ file, bytes, sha256 }], tensors?: [{ name, dtype, shape, sha256 }],
                manifest?, error? }] }

Examples:
  safetensors hash model/ > SHA256SUMS && sha256sum --check SHA256SUMS
  safetensors hash model.safetensors --tensors
  safetensors hash model/ --write

Exit codes:
  0    done
  1    an input is invalid, so that its tensors cannot be told
  2    it could not be done, or the command was used wrongly
  130  stopped by Ctrl-C (143: by SIGTERM)`;

/** Adds `hash` to the program. */
export function addHash(program: Command): void {
  program
    .command("hash")
    .summary("print or record the SHA-256 of files and tensors")
    .description("Computes SHA-256 digests of the files of checkpoints, or of their tensors.")
    .argument("<input...>", `${INPUTS} (these only with --tensors)`)
    .option("--tensors", "digests of the tensors instead of the files")
    .option("--write", "write a manifest with the digests of both beside each checkpoint")
    .option("--metadata", "write the digests of the tensors into the metadata of the files")
    .option("--json", "print the digests as JSON; with --tensors or --write those of the tensors too")
    .option("--quiet", "print nothing but errors")
    .addHelpText("after", HELP)
    .action(async (paths: string[], options: HashOptions) => {
      process.exitCode = await interruptible((signal) => hash(paths, options, signal));
    });
}

async function hash(inputs: readonly string[], options: HashOptions, signal: AbortSignal): Promise<number> {
  const { json = false, quiet = false } = options;
  const results: object[] = [];
  let code: number = EXIT.ok;
  try {
    for (const input of await expandInputs(inputs)) {
      const progress = startProgress(!quiet);
      try {
        const hashed = await (isAddress(input) ? hashRemote : hashLocal)(input, options, signal, progress);
        progress.stop();
        if (json) results.push(hashJson(input, hashed));
        else if (!quiet) await printLines(hashLines(hashed, options.tensors ?? false));
      } catch (error) {
        progress.stop();
        if (signal.aborted) throw error;
        if (json) results.push({ input, error: errorJson(error) });
        code = Math.max(code, json ? exitCodeOf(error) : await fail(error, false));
      }
    }
    if (json) await printLines([toJson({ results }, 2)]);
    return code;
  } catch (error) {
    if (signal.aborted) throw error;
    return fail(error, json);
  }
}

/** Digests, and the path of the manifest that they were written to. */
type Hashed = HashedCheckpoint & { readonly manifest?: string };

async function hashLocal(
  input: string,
  options: HashOptions,
  signal: AbortSignal,
  progress: Progress,
): Promise<Hashed> {
  const running = { signal, onProgress: progress.update };
  if (options.metadata) await recordDigests(input, running);
  const filesOnly = !options.tensors && !options.write;
  const hashed = await hashCheckpoint(input, { filesOnly, ...running });
  if (!options.write) return hashed;
  const manifest = await manifestPath(input);
  await writeManifest(manifest, hashed);
  return { ...hashed, manifest };
}

/** Tensors at an address: they are read through, and nothing is kept of them. */
async function hashRemote(
  input: string,
  options: HashOptions,
  signal: AbortSignal,
  progress: Progress,
): Promise<Hashed> {
  if (!options.tensors || options.write || options.metadata) {
    throw new SafetensorsError("UNSUPPORTED", "of what is at an address, only --tensors can be hashed");
  }
  await using opened = await openFiles(input, { mode: "strict", traffic: { requests: 0, bytes: 0 } });
  const tensors = await hashTensors(opened.whole, {
    signal,
    hasher: () => createHash("sha256"),
    onProgress: progress.update,
  });
  return { folder: input, files: new Map(), tensors, data: new Map() };
}

function* hashLines({ folder, files, tensors, manifest }: Hashed, ofTensors: boolean): Iterable<string> {
  if (manifest !== undefined) process.stderr.write(`${errorColors.dim(`written ${nameText(manifest)}`)}\n`);
  // Two spaces between, as sha256sum has them and reads them.
  if (ofTensors) for (const [name, { sha256 }] of tensors) yield `${sha256}  ${nameText(name)}`;
  else for (const [file, { sha256 }] of files) yield `${sha256}  ${nameText(join(folder, file))}`;
}

function hashJson(input: string, { folder, files, tensors, manifest }: Hashed): object {
  return {
    input,
    ...(manifest !== undefined && { manifest }),
    files: Array.from(files, ([file, { size, sha256 }]) => ({
      file: join(folder, file),
      bytes: size,
      sha256,
    })),
    ...(tensors.size > 0 && { tensors: Array.from(tensors, ([name, digest]) => ({ name, ...digest })) }),
  };
}
