import type { AwsClient } from "aws4fetch";
import { SafetensorsError } from "../errors.ts";
import type { S3Credentials } from "./options.ts";

/** Signs requests with one access key (AWS Signature Version 4). */
export class Signer {
  readonly #client: AwsClient;

  /** @throws `IO` for what cannot be credentials; `UNSUPPORTED` where aws4fetch is not installed */
  static async create(credentials: S3Credentials): Promise<Signer> {
    const { accessKeyId, secretAccessKey, sessionToken } = checked(credentials);
    const { AwsClient } = await import("aws4fetch").catch((cause: unknown) => {
      const text =
        "signing requests needs the package aws4fetch (npm install aws4fetch); public buckets do not";
      throw new SafetensorsError("UNSUPPORTED", text, { kind: "no-aws4fetch", cause });
    });
    const token = sessionToken ? { sessionToken } : {};
    return new Signer(new AwsClient({ accessKeyId, secretAccessKey, service: "s3", ...token }));
  }

  private constructor(client: AwsClient) {
    this.#client = client;
  }

  /** The headers that a GET request needs. */
  async headers(url: string, region: string): Promise<Headers> {
    const { headers } = await this.#client.sign(url, { method: "GET", aws: { region } });
    return headers;
  }

  /** A text of a server without secrets that it may have repeated: the session token, and signatures. */
  redact(text: string): string {
    const { sessionToken } = this.#client;
    const shown = sessionToken ? text.replaceAll(sessionToken, "…") : text;
    return shown.replace(/[0-9a-f]{64}/gi, "…");
  }
}

/** Refuses what cannot be sent before a runtime does, whose message repeats it. */
function checked(credentials: S3Credentials): S3Credentials {
  const { accessKeyId, secretAccessKey, sessionToken } = Object(credentials) as Partial<S3Credentials>;
  const wrong = Object.entries({ accessKeyId, secretAccessKey, sessionToken: sessionToken || "none" }).find(
    ([, value]) => typeof value !== "string" || !/^[\x21-\x7e]+$/.test(value),
  );
  if (wrong === undefined) return credentials;
  const text = `the ${wrong[0]} is missing, or has characters that cannot be sent, such as a blank or a line's end`;
  throw new SafetensorsError("IO", text);
}
