import type { FromWorker, ToWorker } from "./messages.ts";
import { PoolServer } from "./serve.ts";

/** What a worker of the web has for a global object. */
interface WorkerScope {
  postMessage(message: FromWorker): void;
  onmessage: ((event: { readonly data: ToWorker }) => void) | null;
}

// The program of a worker of the web.
const scope = globalThis as unknown as WorkerScope;
const server = new PoolServer((message) => scope.postMessage(message));
scope.onmessage = ({ data }) => void server.receive(data);
