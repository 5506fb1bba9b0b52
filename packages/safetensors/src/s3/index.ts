export { credentialsFromEnvironment } from "./environment.ts";
export { openS3, s3Store } from "./open.ts";
export type { S3Access, S3Credentials, S3Options, S3StoreOptions } from "./options.ts";
export { s3Place } from "./place.ts";
