import type { Checkpoint } from "../../checkpoint/checkpoint.ts";
import { openSafetensors, readHead } from "../../checkpoint/safetensors.ts";
import { SafetensorsError } from "../../errors.ts";
import { diagnose } from "../../format/diagnose.ts";
import { type NumpyOptions, numpyReader, openNumpy } from "../../numpy/index.ts";
import { orClose } from "../../source/or-close.ts";
import type { ByteSource } from "../../source/source.ts";
import { openTorch, type TorchOptions, torchReader } from "../../torch/index.ts";
import { decompress } from "../decompress.ts";
import { openFile } from "../file-source.ts";
import { type CheckpointFiles, locateCheckpoint } from "../locate.ts";

/** Finds the PyTorch files of a conversion's input. A folder with safetensors only is told apart from an empty one. */
export async function locateTorch(input: string): Promise<CheckpointFiles> {
  try {
    return await locateCheckpoint(input, "torch");
  } catch (error) {
    if (!(error instanceof SafetensorsError) || error.code !== "NOT_FOUND") throw error;
    await locateCheckpoint(input, "safetensors").catch(() => {
      throw error;
    });
    throw alreadySafetensors();
  }
}

/** Opens one file for conversion, PyTorch or NumPy, with blocking reads: these are the fastest, and nothing else is to be done. */
export async function openInput(
  path: string,
  options: TorchOptions & Pick<NumpyOptions, "allowExpansion">,
): Promise<Checkpoint> {
  const source = await openFile(path, { blocking: true });
  return orClose(source, async () => {
    const head = await readHead(source);
    if (torchReader.recognises(head)) return await openTorch(source, { decompress, ...options });
    if (numpyReader.recognises(head))
      return await openNumpy(source, { allowExpansion: options.allowExpansion });
    throw await whatElse(source, head);
  });
}

async function whatElse(source: ByteSource, head: Uint8Array): Promise<SafetensorsError> {
  const found = diagnose(head, source.size);
  if (found) {
    const text = `this is ${found.description}, not a PyTorch file. ${found.advice}`;
    return new SafetensorsError("INVALID_ARCHIVE", text, { kind: found.kind });
  }
  try {
    await openSafetensors(source);
    return alreadySafetensors();
  } catch (cause) {
    const reason = cause instanceof SafetensorsError ? `: ${cause.reason}` : "";
    const text = `this is neither a PyTorch file nor whole safetensors${reason}`;
    return new SafetensorsError("INVALID_ARCHIVE", text, { cause });
  }
}

function alreadySafetensors(): SafetensorsError {
  const text = "this is safetensors already, there is nothing to convert";
  return new SafetensorsError("UNSUPPORTED", text, { kind: "safetensors" });
}
