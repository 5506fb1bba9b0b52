import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { ioError } from "./io-error.ts";

/**
 * The token that `hf auth login` stored, for the option `token` of `openHub`; nothing if nobody is logged in. It lies
 * where huggingface_hub looks for it: in the file `HF_TOKEN_PATH`, else in `HF_HOME/token`, else in
 * `huggingface/token` below `XDG_CACHE_HOME` or `~/.cache`. A token in `HF_TOKEN` comes first: see
 * `tokenFromEnvironment`.
 *
 * @param env environment variables by name
 * @throws `IO` if the file is there and cannot be read
 */
export async function readHubToken(
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<string | undefined> {
  const path = withHome(env.HF_TOKEN_PATH || join(hubHome(env), "token"));
  try {
    return (await readFile(path, "utf8")).trim() || undefined;
  } catch (cause) {
    const error = ioError(path, "read the token in", cause);
    if (error.code === "NOT_FOUND") return undefined;
    throw error;
  }
}

function hubHome(env: Readonly<Record<string, string | undefined>>): string {
  return env.HF_HOME || join(env.XDG_CACHE_HOME || join("~", ".cache"), "huggingface");
}

/** `~` stands for the user's folder, also where no shell has replaced it. */
function withHome(path: string): string {
  return path.replace(/^~(?=[/\\]|$)/, homedir());
}
