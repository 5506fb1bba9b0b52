import { quote, SafetensorsError } from "../errors.ts";
import { isRegion } from "./address.ts";
import { readText, textsOf } from "./xml.ts";

/** What a server says of a request that it did not serve. */
export interface Problem {
  readonly status: number;
  /** Its word for it (S3's API reference, "Error responses"). */
  readonly code: string | undefined;
  readonly message: string | undefined;
  /** The region to ask instead. */
  readonly region: string | undefined;
  /** The host to ask instead. */
  readonly endpoint: string | undefined;
  /** Bytes of an object that is shorter than what was asked for. */
  readonly size: string | undefined;
}

/** Answers about errors have some hundred bytes; what is longer is no such answer. */
const MOST_BYTES = 64 << 10;

/** What to do next, by the server's word. */
const ADVICE: ReadonlyMap<string, string> = new Map([
  [
    "AccessDenied",
    "these credentials may not read it (s3:GetObject; s3:ListBucket to list and to be told of missing keys)",
  ],
  ["InvalidAccessKeyId", "the server does not know this access key: check the credentials and the endpoint"],
  ["SignatureDoesNotMatch", "check the secret access key"],
  ["ExpiredToken", "get new temporary credentials, or give a function that gets them"],
  ["InvalidToken", "check the session token"],
  ["RequestTimeTooSkewed", "set the clock of this computer"],
  ["AuthorizationHeaderMalformed", "check the region"],
  ["PermanentRedirect", "give the region or the endpoint of the bucket"],
  ["InvalidObjectState", "the object is archived and must be restored first"],
]);

/** Reads what a server says of a problem. */
export async function readProblem(response: Response): Promise<Problem> {
  const { text } = await readText(response, MOST_BYTES);
  const read = (name: string): string | undefined => textsOf(text, name)[0];
  const region = regionOf(response) ?? read("Region");
  return {
    status: response.status,
    code: read("Code"),
    message: read("Message"),
    region: region !== undefined && isRegion(region) ? region : undefined,
    endpoint: read("Endpoint"),
    size: read("ActualObjectSize"),
  };
}

/** The region that the head of an answer names. */
export function regionOf({ headers }: Response): string | undefined {
  return headers.get("x-amz-bucket-region") ?? undefined;
}

/** A problem as an error that says what to do. `message` is the server's, without secrets. */
export function problemError(
  name: string,
  { status, code, endpoint }: Problem,
  message: string | undefined,
  signed: boolean,
): SafetensorsError {
  const said = code === undefined ? `status ${status}` : quote(code);
  const text = `${name} answered with ${said}${message === undefined ? "" : `, ${quote(message)}`}`;
  if (status === 404 || status === 410) return new SafetensorsError("NOT_FOUND", text);
  const where = endpoint === undefined ? "" : `; the server names ${quote(endpoint)}`;
  const advice = adviceFor(status, code, signed);
  return new SafetensorsError("IO", `${text}${advice && `: ${advice}${where}`}`);
}

function adviceFor(status: number, code: string | undefined, signed: boolean): string {
  const refused = status === 401 || status === 403;
  const unsigned = code === undefined ? refused || status === 400 : code === "AccessDenied";
  if (!signed && unsigned)
    return "the request was not signed, give credentials if this is not a public bucket";
  return ADVICE.get(code ?? "") ?? (refused ? "access is refused" : "");
}
