import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { after } from "node:test";

/** The file that a server has. Tests change it. */
export interface ServedFile {
  bytes: Uint8Array;
  etag: string | undefined;
  date: string | undefined;
}

/** One request, with what an answer is made of. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly file: ServedFile;
  /** The range asked for, cut to the file. */
  readonly start: number;
  readonly end: number;
}

/** How a server answers one request. */
export type Answer = (exchange: Exchange) => void;

/** What to say in place of the truth. */
export interface Lies {
  readonly status?: number;
  readonly start?: number;
  readonly end?: number;
  readonly total?: number | string;
  readonly body?: Uint8Array;
  /** Headers to add, or to leave out (`undefined`). */
  readonly headers?: Readonly<Record<string, string | undefined>>;
}

function send(
  { response }: Exchange,
  status: number,
  headers: Lies["headers"] = {},
  body?: Uint8Array,
): void {
  for (const [name, value] of Object.entries(headers))
    if (value !== undefined) response.setHeader(name, value);
  response.writeHead(status);
  response.end(body);
}

const versionOf = ({ etag, date }: ServedFile): Lies["headers"] => ({ etag, "last-modified": date });

/** The range asked for (206), as a good server sends it, but for these lies. */
export function part(lies: Lies = {}): Answer {
  return (exchange) => {
    const { file, start, end } = exchange;
    const body = lies.body ?? file.bytes.subarray(start, end);
    const headers = {
      ...versionOf(file),
      "content-range": `bytes ${lies.start ?? start}-${(lies.end ?? end) - 1}/${lies.total ?? file.bytes.length}`,
      "content-length": String(body.length),
      ...lies.headers,
    };
    send(exchange, lies.status ?? 206, headers, body);
  };
}

/** The whole file (200), ranges or not. */
export function whole(headers: Lies["headers"] = {}): Answer {
  return (exchange) => {
    const { bytes } = exchange.file;
    send(
      exchange,
      200,
      { ...versionOf(exchange.file), "content-length": String(bytes.length), ...headers },
      bytes,
    );
  };
}

/** Another status, with a text like the ones that servers send along. */
export function status(code: number, headers: Lies["headers"] = {}): Answer {
  return (exchange) => send(exchange, code, headers, new TextEncoder().encode("<html>an explanation</html>"));
}

/** A redirect. */
export function redirect(location: string, code = 302): Answer {
  return status(code, { location });
}

/** The range asked for, but the connection breaks after `count` bytes of it; before the head of the answer for -1. */
export function drop(count: number): Answer {
  return breaking(count, ({ socket }) => socket?.destroy());
}

/** The range asked for, but after `count` bytes of it nothing comes any more; not even a head for -1. */
export function stall(count: number): Answer {
  return breaking(count, () => {});
}

function breaking(count: number, end: (response: ServerResponse) => void): Answer {
  return (exchange) => {
    const { response, file, start, end: stop } = exchange;
    if (count < 0 || start >= stop) return end(response);
    const body = file.bytes.subarray(start, stop);
    response.setHeader("content-range", `bytes ${start}-${stop - 1}/${file.bytes.length}`);
    response.setHeader("content-length", body.length);
    for (const [name, value] of Object.entries(versionOf(file)!))
      if (value !== undefined) response.setHeader(name, value);
    response.writeHead(206);
    response.flushHeaders();
    if (count === 0) end(response);
    else response.write(body.subarray(0, count), () => end(response));
  };
}

/** A real server with one file, which answers well unless it is told not to. */
export class FileServer {
  readonly file: ServedFile;
  /** The requests so far. */
  readonly requests: IncomingMessage[] = [];
  readonly connections: Set<Socket> = new Set();
  /** Answers for the next requests, one each. */
  readonly script: Answer[] = [];
  /** Answers the requests that no script is for. */
  usual: Answer = good;
  readonly #server: Server;

  private constructor(bytes: Uint8Array) {
    this.file = { bytes, etag: '"one"', date: undefined };
    this.#server = createServer((request, response) => {
      this.requests.push(request);
      const [, first = 0, last = Infinity] = (
        /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? []
      ).map(Number);
      const end = Math.min(last + 1, this.file.bytes.length);
      const answer = this.script.shift() ?? this.usual;
      answer({ request, response, file: this.file, start: first, end });
    });
    this.#server.on("connection", (socket) => this.connections.add(socket));
  }

  /** Starts a server, which ends with the tests of this file. */
  static async start(bytes: Uint8Array): Promise<FileServer> {
    const server = new FileServer(bytes);
    await new Promise<void>((resolve) => server.#server.listen(0, "127.0.0.1", resolve));
    after(() => server.stop());
    return server;
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get url(): string {
    return `${this.origin}/model.safetensors`;
  }

  /** The ranges asked for so far. */
  get ranges(): string[] {
    return this.requests.map(({ headers }) => headers.range!.replace("bytes=", ""));
  }

  /** Forgets what happened, for the next test. */
  reset(bytes: Uint8Array = this.file.bytes): void {
    Object.assign(this.file, { bytes, etag: '"one"', date: undefined });
    this.requests.length = 0;
    this.script.length = 0;
    this.usual = good;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** What a server should do: the range, or 416 where there is none (RFC 9110). */
export function good(exchange: Exchange): void {
  const { start, file } = exchange;
  if (start < file.bytes.length) part()(exchange);
  else status(416, { "content-range": `bytes */${file.bytes.length}` })(exchange);
}
