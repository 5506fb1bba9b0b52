import type { StorePlace } from "../source/store.ts";
import { s3Store } from "./open.ts";
import type { S3StoreOptions } from "./options.ts";

/**
 * What an address of a bucket leads to, for `openStore`: an object, or, with a slash at its end, what lies below a prefix.
 *
 * @throws what `s3Store` throws
 */
export function s3Place(address: string, options: S3StoreOptions = {}): StorePlace {
  const [, folder, file] = /^(s3:\/\/[^/]+\/(?:.*\/)?)([^/]+)$/s.exec(address) ?? [];
  if (folder === undefined || file === undefined) return { store: s3Store(address, options) };
  return { store: s3Store(folder, options), file };
}
