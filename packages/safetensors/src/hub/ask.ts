import { SafetensorsError } from "../errors.ts";
import type { Attempt } from "../source/http-attempt.ts";
import { HttpRequester } from "../source/http-request.ts";
import { withTries } from "../source/http-tries.ts";
import type { HubOptions } from "./options.ts";
import { advised, type HubRepository } from "./repository.ts";

/** Bytes of one answer of the Hub's API. The answer for a repository of 50,000 files has about 5 MB. */
export const MAX_HUB_ANSWER_BYTES: number = 32 << 20;

/** What the Hub's API answers: JSON that nobody has checked, and the head of the answer. */
export interface HubAnswer {
  readonly value: unknown;
  readonly headers: Headers;
}

/**
 * Asks the Hub's API. What fails in a way that may pass is tried again.
 *
 * @param path what the question is about, for messages
 * @throws `NOT_FOUND`; `IO` for what the Hub refuses and for what is not JSON; `LIMIT_EXCEEDED`
 */
export function askHub(
  repository: HubRepository,
  url: string,
  path: string,
  options: HubOptions,
): Promise<HubAnswer> {
  const send = repository.fetchFor(path);
  // The requester asks for ranges; an answer of the API is wanted whole, and compressed if the runtime likes.
  const whole = (address: string, init: RequestInit): Promise<Response> => {
    const headers = new Headers(init.headers);
    headers.delete("range");
    headers.delete("accept-encoding");
    return send(address, { ...init, headers });
  };
  return advised(ask(new HttpRequester(url, repository.headers, whole as typeof fetch), options));
}

function ask(requester: HttpRequester, options: HubOptions): Promise<HubAnswer> {
  return withTries(requester.name, options, async (attempt) => {
    const response = await requester.get(0, MAX_HUB_ANSWER_BYTES, attempt);
    const text = await receiveText(response, requester.name, attempt);
    return { value: parseJson(text, requester.name), headers: response.headers };
  });
}

async function receiveText({ status, body }: Response, name: string, attempt: Attempt): Promise<string> {
  if (status !== 200) throw new SafetensorsError("IO", `${name} answered with status ${status}`);
  const reader = body?.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (let length = 0; ; ) {
    let bytes: Uint8Array | undefined;
    try {
      bytes = (await reader?.read())?.value;
    } catch (error) {
      throw attempt.interrupted("broke off", error);
    }
    if (bytes === undefined) return text + decoder.decode();
    attempt.alive();
    length += bytes.length;
    if (length > MAX_HUB_ANSWER_BYTES) {
      throw new SafetensorsError(
        "LIMIT_EXCEEDED",
        `${name} answered with more than ${MAX_HUB_ANSWER_BYTES} bytes`,
        { limit: "MAX_HUB_ANSWER_BYTES" },
      );
    }
    text += decoder.decode(bytes, { stream: true });
  }
}

function parseJson(text: string, name: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new SafetensorsError("IO", `${name} answered with something that is not JSON`);
  }
}
