import { SafetensorsError } from "../errors.ts";
import type { S3Access } from "./options.ts";

/**
 * Where and who, from the variables that the tools of AWS read: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
 * `AWS_SESSION_TOKEN`, `AWS_REGION` or `AWS_DEFAULT_REGION`, `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`. What is
 * missing or empty stays open. Use: `openS3(address, credentialsFromEnvironment(process.env))`.
 *
 * @throws `IO` for half of an access key
 */
export function credentialsFromEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
): Pick<S3Access, "credentials" | "region" | "endpoint"> {
  const read = (...names: readonly string[]): string | undefined =>
    names.map((name) => environment[name]).find((value) => value);
  const accessKeyId = read("AWS_ACCESS_KEY_ID");
  const secretAccessKey = read("AWS_SECRET_ACCESS_KEY");
  if (!accessKeyId !== !secretAccessKey) {
    const text = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY belong together: one of them is not set";
    throw new SafetensorsError("IO", text);
  }
  const credentials =
    accessKeyId && secretAccessKey
      ? { accessKeyId, secretAccessKey, sessionToken: read("AWS_SESSION_TOKEN") }
      : undefined;
  return {
    credentials,
    region: read("AWS_REGION", "AWS_DEFAULT_REGION"),
    endpoint: read("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
  };
}
