import type { UrlOptions } from "../source/http.ts";

/** An access key of AWS or of another server that speaks S3. */
export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Belongs to temporary credentials. */
  readonly sessionToken?: string | undefined;
}

/** Where a bucket is, and who asks. */
export interface S3Access {
  /** Address of a server that is not AWS: MinIO, Ceph, R2, Swift … */
  readonly endpoint?: string | undefined;
  /** Region of the bucket; us-east-1 unless said otherwise. A server that names another one is asked again with that. */
  readonly region?: string | undefined;
  /**
   * Requests are signed with them, by the package `aws4fetch`. A function is called when they are first needed, and again
   * when the server says that they have expired: the credential providers of the AWS SDK are such functions. Without
   * credentials requests are not signed: for public buckets.
   */
  readonly credentials?: S3Credentials | (() => S3Credentials | Promise<S3Credentials>) | undefined;
  /**
   * Whether the bucket is named in the path of addresses, not in their host. So it is with an `endpoint`, and for names
   * that cannot be part of a host's, unless said otherwise.
   */
  readonly forcePathStyle?: boolean | undefined;
}

/** Options of `s3Store`; those of `openUrl` hold for every request. */
export interface S3StoreOptions extends S3Access, Omit<UrlOptions, "headers" | "signal"> {}

/** Options of `openS3`; its signal is for the opening alone. */
export interface S3Options extends S3StoreOptions, Pick<UrlOptions, "signal"> {}
