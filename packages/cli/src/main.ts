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
  safetensors show model.safetensors 'wte.weight[0, :10]'
  safetensors convert pytorch_model.bin
  safetensors split model.safetensors model/ --max-shard-size 2GB
  safetensors edit model.safetensors --set license=apache-2.0

Exit codes: 0 done or valid, 1 invalid or dangerous input, 2 it could not be done, or wrong usage.
Run \`safetensors <command> --help\` for the options, examples and exit codes of a command.`;

/** The commands by what they are for, in the order of the help. */
const COMMANDS: ReadonlyMap<string, ReadonlyMap<string, () => Promise<(program: Command) => void>>> = new Map(
  [
    [
      "Look:",
      new Map([
        ["inspect", async () => (await import("./commands/inspect.ts")).addInspect],
        ["show", async () => (await import("./commands/show.ts")).addShow],
        ["stats", async () => (await import("./commands/stats.ts")).addStats],
        ["diff", async () => (await import("./commands/diff.ts")).addDiff],
        ["plan", async () => (await import("./commands/plan.ts")).addPlan],
      ]),
    ],
    [
      "Check:",
      new Map([
        ["check", async () => (await import("./commands/check.ts")).addCheck],
        ["scan", async () => (await import("./commands/scan.ts")).addScan],
        ["hash", async () => (await import("./commands/hash.ts")).addHash],
        ["repair", async () => (await import("./commands/repair.ts")).addRepair],
      ]),
    ],
    [
      "Write:",
      new Map([
        ["convert", async () => (await import("./commands/convert.ts")).addConvert],
        ["split", async () => (await import("./commands/split.ts")).addSplit],
        ["shard", async () => (await import("./commands/shard.ts")).addShard],
        ["merge", async () => (await import("./commands/merge.ts")).addMerge],
        ["extract", async () => (await import("./commands/extract.ts")).addExtract],
        ["rename", async () => (await import("./commands/rename.ts")).addRename],
        ["edit", async () => (await import("./commands/edit.ts")).addEdit],
        ["cast", async () => (await import("./commands/cast.ts")).addCast],
        ["quantize", async () => (await import("./commands/quantize.ts")).addQuantize],
        ["dequantize", async () => (await import("./commands/dequantize.ts")).addDequantize],
        ["transform", async () => (await import("./commands/transform.ts")).addTransform],
        ["consolidate", async () => (await import("./commands/consolidate.ts")).addConsolidate],
      ]),
    ],
  ],
);

/** Only the command that is named is loaded, so that it starts sooner. */
async function addCommands(program: Command, named: string | undefined): Promise<void> {
  for (const commands of COMMANDS.values()) {
    const command = commands.get(named ?? "");
    if (command) return (await command())(program);
  }
  for (const [title, commands] of COMMANDS) {
    program.commandsGroup(title);
    for (const load of commands.values()) (await load())(program);
  }
}

function createProgram(): Command {
  return new Command("safetensors")
    .description(
      "Look into model weights, check, convert and reshape them. No code found in a file is ever run.",
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
