import { quote, SafetensorsError } from "../errors.ts";
import type { S3Access } from "./options.ts";

/** What `s3://bucket/key` names. The key is as it is written: nothing in it is decoded. */
export interface S3Location {
  readonly bucket: string;
  readonly key: string;
}

/** What servers take in the path. None of these characters has a meaning in an address. */
const BUCKET = /^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$/;

/** Part of the name of a host (RFC 1123, 2.1), in lower case as bucket names are. */
const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

const REGION = /^[\w-]{1,63}$/;

/**
 * Takes an `s3://` address apart.
 *
 * @throws `IO` for what is no such address
 */
export function parseLocation(address: string): S3Location {
  const [, bucket, key = ""] = /^s3:\/\/([^/]*)(?:\/(.*))?$/is.exec(address) ?? [];
  if (bucket === undefined) {
    throw new SafetensorsError("IO", `${quote(address)} is no address of the form s3://bucket/key`);
  }
  if (!BUCKET.test(bucket)) throw new SafetensorsError("IO", `${quote(bucket)} is no name of a bucket`);
  return { bucket, key };
}

/** Whether this may be a region. It becomes part of a host's name, and servers may name it. */
export function isRegion(region: string): boolean {
  return REGION.test(region);
}

/**
 * The address of a bucket, up to the slash behind which the key stands.
 *
 * @param bucket out of `parseLocation`, so that it cannot lead to another host.
 * @throws `IO` where the options make no address
 */
export function bucketAddress(
  bucket: string,
  region: string,
  { endpoint, forcePathStyle }: S3Access,
): string {
  const server = parseEndpoint(endpoint ?? awsEndpoint(region));
  const pathStyle = forcePathStyle ?? (endpoint !== undefined || !LABEL.test(bucket));
  if (pathStyle) return `${server.origin}${server.pathname}${bucket}/`;
  const address = `${server.protocol}//${bucket}.${server.host}${server.pathname}`;
  if (LABEL.test(bucket) && URL.canParse(address)) return address;
  const text = `the bucket ${quote(bucket)} cannot be part of a host's name: set forcePathStyle`;
  throw new SafetensorsError("IO", text);
}

/**
 * A key as the path of an address: all but letters, digits and `-_.~/` is escaped, as the signature wants it.
 *
 * @throws `UNSUPPORTED` for keys that no address can name; `IO` for keys that are no Unicode text
 */
export function encodeKey(key: string): string {
  if (!key.isWellFormed())
    throw new SafetensorsError("IO", `${quote(key)} is no key: it is not valid Unicode`);
  const parts = key.split("/");
  if (parts.includes(".") || parts.includes("..")) {
    // `fetch` resolves them, however they are escaped: the request would be for another object, even of another bucket.
    const text = `the key ${quote(key)} has a part "." or "..", which an address cannot have`;
    throw new SafetensorsError("UNSUPPORTED", text);
  }
  return parts.map(escapeText).join("/");
}

/** Text as part of a path or a query, escaped as AWS wants it: RFC 3986 with nothing but unreserved characters. */
export function escapeText(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function awsEndpoint(region: string): string {
  return `https://s3.${region}.amazonaws.com${region.startsWith("cn-") ? ".cn" : ""}`;
}

/** The address of a server, its path with a slash at the end. The message does not repeat it: it may hold a password. */
function parseEndpoint(endpoint: string): URL {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  const isHttp = url?.protocol === "https:" || url?.protocol === "http:";
  if (!url || !isHttp || url.username || url.password || url.search || url.hash) {
    throw new SafetensorsError("IO", "endpoint is no http or https address, or has more than host and path");
  }
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  return url;
}
