import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import picocolors from "picocolors";
import { addCheck } from "./commands/check.ts";
import { addConvert } from "./commands/convert.ts";
import { addInspect } from "./commands/inspect.ts";
import { addShow } from "./commands/show.ts";
import { addStats } from "./commands/stats.ts";
import { EXIT, fail } from "./output/failure.ts";
import { ignoreClosedPipes } from "./output/terminal.ts";
import { printableLines } from "./output/text.ts";

const HELP = `
Examples:
  safetensors inspect model.safetensors
  safetensors check downloads/*
  safetensors convert pytorch_model.bin
  safetensors show model.safetensors 'wte.weight[0, :10]'

Exit codes: 0 done or valid, 1 invalid or dangerous input, 2 it could not be done, or wrong usage.
Run \`safetensors <command> --help\` for the options, examples and exit codes of a command.`;

function createProgram(): Command {
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  const program = new Command("safetensors")
    .description(
      "Look into model weights, check them, and convert PyTorch files. No code found in a file is ever run.",
    )
    .version(version, "-v, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .helpCommand("help [command]", "print the help of a command")
    .addHelpText("after", HELP)
    .showHelpAfterError("Add --help to see how it is used.")
    .configureHelp({ styleTitle: picocolors.createColors(true).bold })
    .configureOutput({ outputError: (text, write) => write(printableLines(text)) })
    .exitOverride();
  addInspect(program);
  addCheck(program);
  addConvert(program);
  addShow(program);
  addStats(program);
  return program;
}

ignoreClosedPipes();
try {
  await createProgram().parseAsync();
} catch (error) {
  // Commander has printed its own: help and the version with code 0, wrong usage with another.
  const isUsage = error instanceof CommanderError;
  process.exitCode = !isUsage ? await fail(error, false) : error.exitCode === 0 ? EXIT.ok : EXIT.failed;
}
