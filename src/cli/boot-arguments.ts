import type { Command } from 'commander';
import { readFile } from '../lab/guests.ts';
import type { BootOptions, ImageFormat } from '../machine/guest-image.ts';
import { type NamedFile, OPTION } from './options.ts';

/** What a command is told of how to boot its image. */
export interface BootArguments {
  readonly append?: string;
  readonly initrd?: string;
  readonly module?: readonly string[];
  readonly fwCfg?: readonly NamedFile[];
  readonly format?: ImageFormat;
  readonly flat?: number;
}

/** Their names. */
export const BOOT_ARGUMENTS = ['append', 'initrd', 'module', 'fwCfg', 'format', 'flat'] as const;

/** Lets a command take them. */
export function addBootArguments(command: Command): Command {
  for (const name of BOOT_ARGUMENTS) command.addOption(OPTION[name]());
  return command;
}

/** What the image is booted with, files read. @throws CounterpointError `unreadable-file` */
export function bootOptions(given: BootArguments): BootOptions {
  const { append, initrd, module, fwCfg, format, flat } = given;
  return {
    ...(append !== undefined && { commandLine: append }),
    ...(initrd !== undefined && { initrd: readFile(initrd) }),
    ...(module && { modules: module.map((text) => ({ bytes: readFile(text), text })) }),
    ...(fwCfg && {
      files: Object.fromEntries(fwCfg.map(({ name, file }) => [name, readFile(file)])),
    }),
    ...(format && { format }),
    ...(flat !== undefined && { format: 'flat' as const, address: flat }),
  };
}
