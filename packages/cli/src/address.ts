import {
  type FileStore,
  observed,
  SafetensorsError,
  type StorePlace,
  type Traffic,
  urlPlace,
} from "safetensors.js";
import { pathPlace, readHubToken } from "safetensors.js/node";

/** Whether an input is no path on this machine. */
export const isAddress = (input: string): boolean => /^(https?|hf|s3):\/\//i.test(input);

/** What an input leads to: a path, or an address (http, https, hf, s3). What is read there is added to `traffic`. */
export async function placeOf(input: string, traffic: Traffic): Promise<StorePlace> {
  const [, scheme] = /^(https?|hf|s3):\/\//i.exec(input) ?? [];
  switch (scheme?.toLowerCase()) {
    case "http":
    case "https":
      return urlPlace(input, { traffic });
    case "hf": {
      const { endpointFromEnvironment, hubPlace, tokenFromEnvironment } = await import("safetensors.js/hub");
      const token = tokenFromEnvironment(process.env) ?? (await readHubToken());
      return hubPlace(input, { token, endpoint: endpointFromEnvironment(process.env), traffic });
    }
    case "s3": {
      const { credentialsFromEnvironment, s3Place } = await import("safetensors.js/s3");
      return s3Place(input, { ...credentialsFromEnvironment(process.env), traffic });
    }
    default: {
      if (input === "") throw new SafetensorsError("NOT_FOUND", "the input has no name", { file: input });
      // Blocking reads are the fastest, and nothing else is to be done meanwhile.
      const { store, file } = await pathPlace(input, { blocking: true });
      return { store: observedStore(store, traffic), ...(file !== undefined && { file }) };
    }
  }
}

function observedStore(store: FileStore, traffic: Traffic): FileStore {
  return { ...store, open: async (file, options) => observed(await store.open(file, options), traffic) };
}
