import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { after } from "node:test";
import { expectedSignature, parseAuthorization } from "./signature.ts";

/** One request and its answer. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

export type Answer = (exchange: Exchange) => void;

/** An error as S3 writes it. */
export function refusal(
  status: number,
  code: string,
  more = "",
  headers: Readonly<Record<string, string>> = {},
  message = "A sentence.",
): Answer {
  const xml = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message>${more}<RequestId>1</RequestId></Error>`;
  return answer(status, xml, { "content-type": "application/xml", ...headers });
}

/** Any answer. */
export function answer(
  status: number,
  body: string | Uint8Array,
  headers: Readonly<Record<string, string>> = {},
): Answer {
  return ({ response }) => {
    response.writeHead(status, headers);
    response.end(body);
  };
}

export const KEYS = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "a/secret+key" };

/** A server with the buckets "models" and "more", addressed by path. It checks signatures as S3 does. */
export class S3Server {
  readonly objects: Map<string, Uint8Array> = new Map();
  readonly requests: IncomingMessage[] = [];
  /** Answers for the next requests, one each, in place of the truth. */
  readonly script: Answer[] = [];
  /** Keys of one page of a list. */
  pageSize = 1000;
  region = "us-east-1";
  /** The session token that counts now; nothing where there is none. */
  token: string | undefined;
  /** Whether unsigned requests are served too. */
  isPublic = false;
  etag = '"one"';
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      this.requests.push(request);
      const answer = this.script.shift() ?? this.#refusal(request) ?? this.#truth(request);
      answer({ request, response });
    });
  }

  /** Starts a server, which ends with the tests of this file. */
  static async start(): Promise<S3Server> {
    const server = new S3Server();
    await new Promise<void>((resolve) => server.#server.listen(0, "127.0.0.1", resolve));
    after(async () => {
      server.#server.closeAllConnections();
      await new Promise((resolve) => server.#server.close(resolve));
    });
    return server;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Forgets what happened, for the next test. */
  reset(): void {
    this.objects.clear();
    this.requests.length = 0;
    this.script.length = 0;
    Object.assign(this, {
      pageSize: 1000,
      region: "us-east-1",
      token: undefined,
      isPublic: false,
      etag: '"one"',
    });
  }

  #refusal(request: IncomingMessage): Answer | undefined {
    const { headers, method, url } = request;
    if (headers.authorization === undefined) return this.isPublic ? undefined : refusal(403, "AccessDenied");
    const authorization = parseAuthorization(headers.authorization);
    if (authorization?.service !== "s3") return refusal(400, "AuthorizationHeaderMalformed");
    if (authorization.accessKeyId !== KEYS.accessKeyId) return refusal(403, "InvalidAccessKeyId");
    if (authorization.region !== this.region) {
      return refusal(400, "AuthorizationHeaderMalformed", `<Region>${this.region}</Region>`);
    }
    const mustBeSigned = [
      "host",
      "x-amz-date",
      ...(this.token === undefined ? [] : ["x-amz-security-token"]),
    ];
    const expected = expectedSignature(
      { method: method!, url: url!, headers },
      authorization,
      KEYS.secretAccessKey,
    );
    if (
      authorization.signature !== expected ||
      mustBeSigned.some((name) => !authorization.signedHeaders.includes(name))
    ) {
      return refusal(403, "SignatureDoesNotMatch");
    }
    return headers["x-amz-security-token"] === this.token ? undefined : refusal(400, "ExpiredToken");
  }

  #truth({ url, headers }: IncomingMessage): Answer {
    const [path, query] = url!.split("?") as [string, string?];
    const [, bucket, ...parts] = path.split("/").map(decodeURIComponent);
    if (bucket !== "models" && bucket !== "more") return refusal(404, "NoSuchBucket");
    if (query !== undefined) return this.#list(bucket, new URLSearchParams(query));
    const object = this.objects.get(`${bucket}/${parts.join("/")}`);
    if (!object) return refusal(404, "NoSuchKey");
    const [, first = 0, last = 0] = (/^bytes=(\d+)-(\d+)$/.exec(headers.range!) ?? []).map(Number);
    const end = Math.min(last + 1, object.length);
    const size = `<ActualObjectSize>${object.length}</ActualObjectSize>`;
    if (first >= end) return refusal(416, "InvalidRange", size);
    return answer(206, object.subarray(first, end), {
      etag: this.etag,
      "content-length": String(end - first),
      "content-range": `bytes ${first}-${end - 1}/${object.length}`,
    });
  }

  /** ListObjectsV2, as far as it is used: keys, and the prefixes of those behind a further delimiter. */
  #list(bucket: string, query: URLSearchParams): Answer {
    const prefix = query.get("prefix") ?? "";
    const entries = new Set<string>();
    for (const path of this.objects.keys()) {
      if (!path.startsWith(`${bucket}/${prefix}`)) continue;
      const key = path.slice(bucket.length + 1);
      const cut = key.indexOf("/", prefix.length);
      entries.add(cut < 0 ? key : key.slice(0, cut + 1));
    }
    const all = [...entries].sort();
    const start = Number(query.get("continuation-token")?.replace("from + ", "") ?? 0);
    const page = all.slice(start, start + this.pageSize);
    const write = (text: string): string =>
      encodeURIComponent(text).replaceAll("%20", "+").replaceAll("%2F", "/");
    const items = page.map((entry) =>
      entry.endsWith("/") && entry !== prefix
        ? `<CommonPrefixes><Prefix>${write(entry)}</Prefix></CommonPrefixes>`
        : `<Contents><Key>${write(entry)}</Key><Size>1</Size></Contents>`,
    );
    const next = start + page.length;
    const more = next < all.length;
    return answer(
      200,
      `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>${bucket}</Name><EncodingType>url</EncodingType><IsTruncated>${more}</IsTruncated>${more ? `<NextContinuationToken>from + ${next}</NextContinuationToken>` : ""}${items.join("")}</ListBucketResult>`,
    );
  }
}
