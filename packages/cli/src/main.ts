import { Command, CommanderError } from "commander";
import picocolors from "picocolors";
import { EXIT, fail } from "./output/failure.ts";
import { ignoreClosedPipes } from "./output/terminal.ts";
import { printableLines } from "./output/text.ts";
import { ownVersion } from "./version.ts";

const HELP = `
Examples:
  safetensors inspect model.safetensors
  safetensors check downloads/*
  safetensors scan downloads/
  safetensors convert pytorch_model.bin
  safetensors show model.safetensors 'wte.weight[0, :10]'

Exit codes: 0 done or valid, 1 invalid or dangerous input, 2 it could not be done, or wrong usage.
Run \`safetensors <command> --help\` for the options, examples and exit codes of a command.`;

/** The commands, in the order of the help. */
const COMMANDS: ReadonlyMap<string, () => Promise<(program: Command) => void>> = new Map([
  ["inspect", async () => (await import("./commands/inspect.ts")).addInspect],
  ["check", async () => (await import("./commands/check.ts")).addCheck],
  ["scan", async () => (await import("./commands/scan.ts")).addScan],
  ["convert", async () => (await import("./commands/convert.ts")).addConvert],
  ["show", async () => (await import("./commands/show.ts")).addShow],
  ["stats", async () => (await import("./commands/stats.ts")).addStats],
]);

/** Only the command that is named is loaded, so that it starts sooner. */
async function addCommands(program: Command, named: string | undefined): Promise<void> {
  const command = COMMANDS.get(named ?? "");
  for (const load of command ? [command] : COMMANDS.values()) (await load())(program);
}

function createProgram(): Command {
  return new Command("safetensors")
    .description(
      "Look into model weights, check them, and convert PyTorch files. No code found in a file is ever run.",
    )
    .version(ownVersion(), "-v, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .helpCommand("help [command]", "print the help of a command")
    .addHelpText("after", HELP)
    .showHelpAfterError("Add --help to see how it is used.")
    .configureHelp({ styleTitle: picocolors.createColors(true).bold })
    .configureOutput({ outputError: (text, write) => write(printableLines(text)) })
    .exitOverride();
}

ignoreClosedPipes();
try {
  const program = createProgram();
  await addCommands(program, process.argv[2]);
  await program.parseAsync();
} catch (error) {
  // Commander has printed its own: help and the version with code 0, wrong usage with another.
  const isUsage = error instanceof CommanderError;
  process.exitCode = !isUsage ? await fail(error, false) : error.exitCode === 0 ? EXIT.ok : EXIT.failed;
}
