import type { Step } from '../machine/steps.ts';

/** Loads the disassembler, which nothing else needs; gives what writes an instruction in Intel's syntax. */
export async function loadDisassembler(): Promise<(step: Step) => string> {
  const { Decoder, DecoderOptions, Formatter, FormatterSyntax } = await import('iced-x86');
  const formatter = new Formatter(FormatterSyntax.Nasm);
  formatter.spaceAfterOperandSeparator = true;
  formatter.hexPrefix = '0x';
  formatter.hexSuffix = '';
  return ({ rip, bytes, codeSize }) => {
    const decoder = new Decoder(codeSize * 8, bytes, DecoderOptions.None);
    decoder.ip = rip;
    const instruction = decoder.decode();
    const text = formatter.format(instruction);
    instruction.free();
    decoder.free();
    return text;
  };
}
