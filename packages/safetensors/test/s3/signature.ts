import { createHash, createHmac } from "node:crypto";

/** What a server sees of a request, as far as it is signed. */
export interface SignedRequest {
  readonly method: string;
  /** Path and query as they were sent. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** The fields of an Authorization header of AWS Signature Version 4. */
export interface Authorization {
  readonly accessKeyId: string;
  readonly date: string;
  readonly region: string;
  readonly service: string;
  readonly signedHeaders: readonly string[];
  readonly signature: string;
}

/** Takes an Authorization header apart; nothing for what is none. */
export function parseAuthorization(header: string | undefined): Authorization | undefined {
  const match =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/.exec(
      header ?? "",
    );
  if (!match) return undefined;
  const [, accessKeyId, date, region, service, names, signature] = match as unknown as string[];
  return {
    accessKeyId: accessKeyId!,
    date: date!,
    region: region!,
    service: service!,
    signedHeaders: names!.split(";"),
    signature: signature!,
  };
}

/** The signature that a request must have: written from AWS's description of Version 4 for S3, for a server. */
export function expectedSignature(
  { method, url, headers }: SignedRequest,
  { date, region, service, signedHeaders }: Authorization,
  secretAccessKey: string,
): string {
  const [path, query = ""] = url.split("?") as [string, string?];
  const pairs = query === "" ? [] : query.split("&").map((pair) => pair.split("="));
  const canonical = [
    method,
    path.split("/").map(reencode).join("/"),
    pairs
      .map(([name, value = ""]) => [reencode(name!), reencode(value)])
      .sort(([a], [b]) => (a! < b! ? -1 : 1))
      .map((pair) => pair.join("="))
      .join("&"),
    ...signedHeaders.map((name) => `${name}:${String(headers[name]).trim()}`),
    "",
    signedHeaders.join(";"),
    headers["x-amz-content-sha256"],
  ].join("\n");
  const scope = `${date}/${region}/${service}/aws4_request`;
  const toSign = ["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, sha256(canonical)].join("\n");
  const key = [date, region, service, "aws4_request"].reduce<string | Buffer>(hmac, `AWS4${secretAccessKey}`);
  return hmac(key, toSign).toString("hex");
}

/** Servers decode what they get, and encode it again in the one way that is signed. */
function reencode(text: string): string {
  const bytes = Buffer.from(decodeURIComponent(text));
  return Array.from(bytes, (byte) => {
    const character = String.fromCharCode(byte);
    if (/[A-Za-z0-9\-_.~]/.test(character)) return character;
    return `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }).join("");
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
