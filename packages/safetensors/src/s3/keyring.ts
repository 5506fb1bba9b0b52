import { SafetensorsError } from "../errors.ts";
import type { S3Access, S3Credentials } from "./options.ts";
import { Signer } from "./signer.ts";

/** Holds the signer for the credentials that are in use. */
export class Keyring {
  readonly #source: S3Access["credentials"];
  #asked: Promise<Signer | undefined> | undefined;
  #current: Signer | undefined;

  constructor(source: S3Access["credentials"]) {
    this.#source = source;
  }

  /**
   * The signer for the newest credentials, nothing where there are no credentials.
   *
   * @throws `IO` when they cannot be had or used; `UNSUPPORTED` where aws4fetch is not installed
   */
  signer(): Promise<Signer | undefined> {
    this.#asked ??= this.#ask();
    return this.#asked;
  }

  /** Forgets credentials that a server calls expired. Returns whether there is a way to get others. */
  forget(expired: Signer): boolean {
    if (typeof this.#source !== "function") return false;
    // Many requests may learn it at once: the first one counts.
    if (this.#current === expired) {
      this.#asked = undefined;
      this.#current = undefined;
    }
    return true;
  }

  async #ask(): Promise<Signer | undefined> {
    const source = this.#source;
    if (source === undefined) return undefined;
    try {
      const credentials = typeof source === "function" ? await call(source) : source;
      this.#current = await Signer.create(credentials);
      return this.#current;
    } catch (error) {
      this.#asked = undefined;
      throw error;
    }
  }
}

async function call(source: () => S3Credentials | Promise<S3Credentials>): Promise<S3Credentials> {
  try {
    return await source();
  } catch (cause) {
    // What it says may hold a secret.
    throw new SafetensorsError("IO", "the function that gives the credentials failed: see the cause", {
      cause,
    });
  }
}
