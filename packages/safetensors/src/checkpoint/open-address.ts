import { urlPlace } from "../source/url-place.ts";
import type { Checkpoint } from "./checkpoint.ts";
import type { OpenOptions } from "./open.ts";
import { openStore } from "./open-store.ts";

/** Opens what an address on a web server leads to: a file, an index or a folder. Closing it when done is not needed. */
export async function openAddress(url: string | URL, options: OpenOptions): Promise<Checkpoint> {
  const { store, file } = urlPlace(url, { signal: options.signal });
  return openStore(store, { ...options, file });
}
