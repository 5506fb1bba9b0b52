import { quote, SafetensorsError } from "../errors.ts";
import { MAX_LIST_PAGES } from "../limits.ts";
import type { Attempt } from "../source/http-attempt.ts";
import { HttpRequester } from "../source/http-request.ts";
import { withTries } from "../source/http-tries.ts";
import { escapeText } from "./address.ts";
import type { Bucket } from "./bucket.ts";
import type { S3Options } from "./options.ts";
import { readText, textsOf } from "./xml.ts";

/** As many as S3 gives at once. */
const KEYS_OF_A_PAGE = 1000;

/** That many keys of 1024 bytes, the longest, each byte escaped, with a kilobyte about each. */
const BYTES_OF_A_PAGE: number = KEYS_OF_A_PAGE * 4096;

/**
 * The names of the objects directly below a prefix (ListObjectsV2).
 *
 * @param prefix empty, or with a slash at its end.
 * @throws `NOT_FOUND` if there is no such bucket; `IO`; `LIMIT_EXCEEDED`
 */
export async function listNames(bucket: Bucket, prefix: string, options: S3Options): Promise<string[]> {
  const names: string[] = [];
  let token: string | undefined;
  for (let pages = 0; pages < MAX_LIST_PAGES; pages++) {
    const xml = await readPage(bucket, pageAddress(bucket, prefix, token), options);
    const keys = textsOf(xml, "Key");
    if (keys.length > KEYS_OF_A_PAGE) throw unusable(bucket, `${keys.length} keys at once`);
    const isEscaped = textsOf(xml, "EncodingType")[0] === "url";
    for (const written of keys) {
      const key = isEscaped ? decode(written, bucket) : written;
      const name = key.slice(prefix.length);
      // The prefix itself is a key where a console made a folder.
      if (key.startsWith(prefix) && name !== "" && !name.includes("/")) names.push(name);
    }
    if (textsOf(xml, "IsTruncated")[0] !== "true") return names;
    const next = textsOf(xml, "NextContinuationToken")[0];
    if (!next || next === token) throw unusable(bucket, "no way to go on");
    token = next;
  }
  const text = `${bucket.address} has more than ${MAX_LIST_PAGES} pages of keys below ${quote(prefix)}`;
  throw new SafetensorsError("LIMIT_EXCEEDED", text, { limit: "MAX_LIST_PAGES" });
}

function pageAddress(bucket: Bucket, prefix: string, token: string | undefined): string {
  const query = [
    "list-type=2",
    "delimiter=%2F",
    "encoding-type=url",
    `max-keys=${KEYS_OF_A_PAGE}`,
    `prefix=${escapeText(prefix)}`,
  ];
  if (token !== undefined) query.push(`continuation-token=${escapeText(token)}`);
  return `${bucket.address}?${query.join("&")}`;
}

/** Reads one page of a list; what fails in a way that may pass is tried again. */
function readPage(bucket: Bucket, url: string, options: S3Options): Promise<string> {
  // The requester asks for ranges, a list comes whole.
  const whole: typeof fetch = (address, init) => {
    const headers = new Headers(init?.headers);
    headers.delete("range");
    return bucket.fetch(address, { ...init, headers });
  };
  const requester = new HttpRequester(url, {}, whole);
  return withTries(bucket.address, options, async (attempt) =>
    receivePage(bucket, await requester.get(0, BYTES_OF_A_PAGE, attempt), attempt),
  );
}

async function receivePage(bucket: Bucket, response: Response, attempt: Attempt): Promise<string> {
  const page = await readText(response, BYTES_OF_A_PAGE, () => attempt.alive()).catch((error: unknown) => {
    throw attempt.interrupted("broke off", error);
  });
  if (!page.whole) throw unusable(bucket, `more than ${BYTES_OF_A_PAGE} bytes at once`);
  if (response.status !== 200 || !page.text.includes("<ListBucketResult"))
    throw unusable(bucket, "something else");
  return page.text;
}

/** Form encoding: S3 writes a blank as "+". */
function decode(text: string, bucket: Bucket): string {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    throw unusable(bucket, `the key ${quote(text)}, which is wrongly encoded`);
  }
}

function unusable(bucket: Bucket, what: string): SafetensorsError {
  return new SafetensorsError(
    "IO",
    `${bucket.address} was asked for a list of keys and answered with ${what}`,
  );
}
