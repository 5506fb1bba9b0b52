import { quote, SafetensorsError } from "../errors.ts";
import { openUrl } from "../source/http.ts";
import type { ByteSource } from "../source/source.ts";
import type { FileStore } from "../source/store.ts";
import { parseLocation } from "./address.ts";
import { Bucket } from "./bucket.ts";
import { listNames } from "./listing.ts";
import type { S3Options, S3StoreOptions } from "./options.ts";

/**
 * Opens an object of S3, or of another server that speaks its language: `s3://bucket/key`. It is read as `openUrl` reads:
 * in parts, of one version. The key stands as it is, nothing in it is decoded.
 *
 * @throws `NOT_FOUND` for an object or a bucket that is not there; `IO` for an address that is none and for what the
 *   server refuses (it says what to do); `UNSUPPORTED` for keys that no request can name, and for signing without the
 *   package `aws4fetch`; `SOURCE_CHANGED`
 */
export async function openS3(address: string, options: S3Options = {}): Promise<ByteSource> {
  const { bucket, key } = parseLocation(address);
  if (key === "") throw new SafetensorsError("IO", `${quote(address)} names a bucket and no key in it`);
  return openObject(new Bucket(bucket, options), key, options);
}

/**
 * The objects below a prefix as a place with files: `s3://bucket/folder/`, or `s3://bucket` for those without a slash in
 * their key.
 *
 * @throws `IO` for an address that is none, and for options that cannot be used
 */
export function s3Store(address: string, options: S3StoreOptions = {}): FileStore {
  const { bucket: name, key } = parseLocation(address);
  const prefix = key === "" || key.endsWith("/") ? key : `${key}/`;
  const bucket = new Bucket(name, options);
  return {
    name: `s3://${name}/${prefix}`,
    list: ({ signal } = {}) => listNames(bucket, prefix, { ...options, signal }),
    open: async (file, { signal } = {}) => openObject(bucket, prefix + file, { ...options, signal }),
  };
}

function openObject(bucket: Bucket, key: string, options: S3Options): Promise<ByteSource> {
  return openUrl(bucket.addressOf(key), { ...options, headers: undefined, fetch: bucket.fetch });
}
