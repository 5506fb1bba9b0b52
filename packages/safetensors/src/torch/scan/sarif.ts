import { FINDINGS, type Finding, type FindingCode, type Severity } from "./finding.ts";
import { memberText, type ScanReport } from "./report.ts";

/** A log in the Static Analysis Results Interchange Format, to be written as JSON (OASIS SARIF 2.1.0). */
export interface SarifLog {
  readonly $schema: string;
  readonly version: "2.1.0";
  readonly runs: readonly object[];
}

/** What the log says of the tool. */
export interface SarifTool {
  readonly version?: string | undefined;
}

const LEVELS: Readonly<Record<Severity, "error" | "warning" | "note">> = {
  dangerous: "error",
  incomplete: "warning",
  note: "note",
};

/** The findings of scans as a SARIF log of one run: a rule for each code, a result for each finding. */
export function toSarif(reports: readonly ScanReport[], tool: SarifTool = {}): SarifLog {
  const codes = Object.keys(FINDINGS) as FindingCode[];
  const ruleIndex = new Map(codes.map((code, index) => [code, index]));
  const files = new Map<string, number>();
  for (const { file } of reports) if (!files.has(file)) files.set(file, files.size);
  const result = (finding: Finding): object => ({
    ruleId: finding.code,
    ruleIndex: ruleIndex.get(finding.code),
    level: LEVELS[finding.severity],
    message: { text: sentence(finding) },
    locations: [location(finding, files.get(finding.file)!)],
    properties: propertiesOf(finding),
  });
  return {
    $schema: "https://json.schemastore.org/sarif-2.1.0.json",
    version: "2.1.0",
    runs: [
      {
        tool: {
          driver: {
            name: "safetensors scan",
            ...(tool.version !== undefined && { version: tool.version }),
            rules: codes.map((code) => ({
              id: code,
              shortDescription: { text: `${FINDINGS[code][1]}.` },
              defaultConfiguration: { level: LEVELS[FINDINGS[code][0]] },
            })),
          },
        },
        // Byte offsets count from the start of the file; columns are not used.
        columnKind: "utf16CodeUnits",
        artifacts: Array.from(files.keys(), (file) => ({ location: { uri: uriOf(file) } })),
        results: reports.flatMap(({ findings }) => findings.map(result)),
        invocations: [{ executionSuccessful: reports.every(wasRead) }],
        properties: { verdicts: reports.map(({ file, verdict }) => ({ file, verdict })) },
      },
    ],
  };
}

/** Whether a file could be read to its end: a log without results must not pass for one that found nothing. */
function wasRead({ findings }: ScanReport): boolean {
  return findings.every(({ code }) => code !== "unreadable");
}

/** The message as a sentence about the place. */
function sentence({ member, message }: Finding): string {
  return `${member.length === 0 ? "The file" : memberText(member)} ${message}.`;
}

function location({ file, member, fileOffset }: Finding, index: number): object {
  return {
    physicalLocation: {
      artifactLocation: { uri: uriOf(file), index },
      ...(fileOffset !== undefined && { region: { byteOffset: fileOffset } }),
    },
    ...(member.length > 0 && {
      logicalLocations: [{ fullyQualifiedName: member.join("/"), kind: "member" }],
    }),
  };
}

function propertiesOf({ at, opcode, global }: Finding): object {
  return {
    ...(at !== undefined && { at }),
    ...(opcode !== undefined && { opcode }),
    ...(global !== undefined && { global }),
  };
}

/** Scheme and authority of an address, its path and query, and its fragment. No letter of a drive is a scheme. */
const ADDRESS =
  /^([a-z][a-z0-9+.-]+:\/\/(?:[^\s/?#@[\]]*@)?(?:\[[\da-f:.]+\]|[^\s/?#@:[\]]*)(?::\d*)?)((?:[/?][^#]*)?)(?:#(.*))?$/is;

/** A path or an address as a URI reference (RFC 3986). */
function uriOf(file: string): string {
  const [, origin, path, fragment] = ADDRESS.exec(file.toWellFormed()) ?? [];
  if (origin === undefined) return pathUri(file.toWellFormed());
  const host = escapeUri(origin).replace("%5B", "[").replace("%5D", "]");
  const end = fragment === undefined ? "" : `#${escapeUri(fragment).replaceAll("#", "%23")}`;
  return `${host}${escapeUri(path!)}${end}`;
}

function pathUri(file: string): string {
  const path = file.replaceAll("\\", "/");
  const escaped = path.split("/").map(encodeURIComponent).join("/");
  return path.startsWith("/") ? `file://${escaped}` : escaped;
}

/** Escapes what no URI has, and keeps what is escaped already. */
function escapeUri(text: string): string {
  return encodeURI(text).replaceAll(/%25([\da-f]{2})/gi, "%$1");
}
