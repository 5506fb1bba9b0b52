import type { UrlOptions } from "../source/http.ts";

/** Options of `openHub` and `hubStore`; the signal is for the opening alone. */
export interface HubOptions extends Omit<UrlOptions, "headers"> {
  /**
   * An access token, for private and gated repositories. It is sent to the Hub alone, never to the servers that it
   * redirects to. A function is asked before each request to the Hub, for tokens that expire.
   */
  readonly token?: string | (() => string | undefined | Promise<string | undefined>) | undefined;
  /** Address of the Hub, or of a mirror; `https://huggingface.co` unless said otherwise. */
  readonly endpoint?: string | undefined;
}

/** Environment variables by name, such as `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** The token in `HF_TOKEN`, else in `HUGGING_FACE_HUB_TOKEN`, the older name: as huggingface_hub reads them. */
export function tokenFromEnvironment(env: Environment): string | undefined {
  return cleanToken(env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN);
}

/** The address of the Hub in `HF_ENDPOINT`, for the option `endpoint`. */
export function endpointFromEnvironment(env: Environment): string | undefined {
  return env.HF_ENDPOINT || undefined;
}

/** A token as people keep it, without the white space around it; nothing if nothing is left. */
export function cleanToken(text: string | undefined): string | undefined {
  return text?.trim() || undefined;
}
