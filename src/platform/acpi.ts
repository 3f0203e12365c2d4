import { ACPI_PORT, S5_TYPE } from './power.ts';

export interface AcpiOptions {
  /** Local APIC IDs, the bootstrap processor's first. */
  readonly apicIds: readonly number[];
  /** Where the tables are to lie: below 1 MiB, from E0000H, on a 64-byte boundary. */
  readonly address: number;
  readonly hpet: boolean;
}

const OEM = 'CNTRPT';
const HPET_BLOCK = 0x8086_a201;

/** Fields of a table, in order: [bytes, value] for little-endian numbers, text, or further fields. */
type Field = readonly [number, number] | string | Uint8Array;

/** The ACPI tables, RSDP first, as bytes to lie at `address`. ACPI specification 6.0, chapter 5. */
export function acpiTables({ apicIds, address, hpet }: AcpiOptions): Uint8Array {
  const image: number[] = [];
  const place = (bytes: Uint8Array, alignment = 16): number => {
    while (image.length % alignment !== 0) image.push(0);
    image.push(...bytes);
    return address + image.length - bytes.length;
  };
  const rsdpSize = 36;
  place(new Uint8Array(rsdpSize));
  const facs = place(pack('FACS', [4, 64], new Uint8Array(24), [1, 1], new Uint8Array(31)), 64);
  const dsdt = place(table('DSDT', 2, sleepObject()));
  const pointed = [place(fadt(facs, dsdt)), place(madt(apicIds))];
  if (hpet) pointed.push(place(hpetTable()));
  const rsdt = place(table('RSDT', 1, pack(...pointed.map((at): Field => [4, at]))));
  const xsdt = place(table('XSDT', 1, pack(...pointed.map((at): Field => [8, at]))));

  const bytes = new Uint8Array(image);
  bytes.set(rsdp(rsdt, xsdt));
  return bytes;
}

function rsdp(rsdt: number, xsdt: number): Uint8Array {
  const bytes = pack('RSD PTR ', [1, 0], OEM, [1, 2], [4, rsdt], [4, 36], [8, xsdt], [4, 0]);
  bytes[8] = checksum(bytes.subarray(0, 20));
  bytes[32] = checksum(bytes);
  return bytes;
}

/** A system description table with its header and checksum. */
function table(signature: string, revision: number, body: Uint8Array): Uint8Array {
  const bytes = pack(
    signature,
    [4, 36 + body.length],
    [1, revision],
    [1, 0],
    OEM,
    'COUNTERP',
    [4, 1],
    'CNTR',
    [4, 1],
    body,
  );
  bytes[9] = checksum(bytes);
  return bytes;
}

/** AML: Name (\_S5, Package () {S5_TYPE, S5_TYPE, 0, 0}), by which software finds how to switch off. */
const sleepObject = (): Uint8Array =>
  pack(
    [1, 0x08],
    '\\_S5_',
    [1, 0x12],
    [1, 8],
    [1, 4],
    [2, 0x000a | (S5_TYPE << 8)],
    [2, 0x000a | (S5_TYPE << 8)],
    [1, 0],
    [1, 0],
  );

/** Generic address structure of an I/O port. */
const port = (bits: number, at: number): Uint8Array =>
  pack([1, 1], [1, bits], [1, 0], [1, 0], [8, at]);

const FLAGS = {
  WBINVD: 1,
  PROC_C1: 1 << 2,
  NO_POWER_BUTTON: 1 << 4,
  NO_SLEEP_BUTTON: 1 << 5,
  RESET_REGISTER: 1 << 10,
};
const NO_VGA = 1 << 2;

/** Fixed ACPI description table, revision 4. */
function fadt(facs: number, dsdt: number): Uint8Array {
  const none = new Uint8Array(12);
  const { WBINVD, PROC_C1, NO_POWER_BUTTON, NO_SLEEP_BUTTON, RESET_REGISTER } = FLAGS;
  const flags = WBINVD | PROC_C1 | NO_POWER_BUTTON | NO_SLEEP_BUTTON | RESET_REGISTER;
  // biome-ignore format: a table
  const body = pack(
    [4, facs], [4, dsdt], [1, 0], [1, 4],                  // FACS, DSDT, reserved, profile: enterprise server
    [2, 9], [4, 0], [1, 0], [1, 0], [1, 0], [1, 0],        // SCI, no SMI command
    [4, ACPI_PORT], [4, 0], [4, ACPI_PORT + 4], [4, 0],    // PM1a, PM1b event; PM1a, PM1b control
    [4, 0], [4, ACPI_PORT + 8], [4, 0], [4, 0],            // PM2, PM timer, GPE0, GPE1
    [1, 4], [1, 2], [1, 0], [1, 4], [1, 0], [1, 0], [1, 0], [1, 0], // their lengths
    [2, 0xffff], [2, 0xffff], [2, 0], [2, 0], [1, 0], [1, 0], // no C2, no C3
    [1, 0], [1, 0], [1, 0x32],                             // alarm by day and month none, century register
    [2, NO_VGA], [1, 0], [4, flags],
    port(8, 0xcf9), [1, 6], [2, 0], [1, 0],                // reset register and its value
    [8, 0], [8, dsdt],                                     // the FACS is named above
    port(32, ACPI_PORT), none, port(16, ACPI_PORT + 4), none, none, port(32, ACPI_PORT + 8), none, none,
  );
  return table('FACP', 4, body);
}

const LEVEL_LOW = 0xf;

/** Multiple APIC description table. */
function madt(apicIds: readonly number[]): Uint8Array {
  const local = apicIds.map((id, index) => pack([1, 0], [1, 8], [1, index], [1, id], [4, 1]));
  // biome-ignore format: a table
  const body = pack(
    [4, 0xfee0_0000], [4, 1],                              // local APICs; the i8259 pair exists
    ...local,
    pack([1, 1], [1, 12], [1, 0], [1, 0], [4, 0xfec0_0000], [4, 0]), // I/O APIC
    pack([1, 2], [1, 10], [1, 0], [1, 0], [4, 2], [2, 0]), // IRQ 0 is pin 2
    pack([1, 2], [1, 10], [1, 0], [1, 9], [4, 9], [2, LEVEL_LOW]), // the SCI
    pack([1, 4], [1, 6], [1, 0xff], [2, 0], [1, 1]),       // NMI is LINT1 of all
  );
  return table('APIC', 3, body);
}

function hpetTable(): Uint8Array {
  const address = pack([1, 0], [1, 64], [1, 0], [1, 0], [8, 0xfed0_0000]);
  return table('HPET', 1, pack([4, HPET_BLOCK], address, [1, 0], [2, 0x80], [1, 0]));
}

/** The byte that makes the sum of all 0 modulo 256. */
const checksum = (bytes: Uint8Array): number => -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff;

function pack(...fields: readonly Field[]): Uint8Array {
  const bytes: number[] = [];
  for (const field of fields) {
    if (typeof field === 'string') for (const letter of field) bytes.push(letter.charCodeAt(0));
    else if (field instanceof Uint8Array) bytes.push(...field);
    else {
      const [size, value] = field;
      for (let i = 0; i < size; i++) bytes.push(Math.floor(value / 2 ** (8 * i)) % 256);
    }
  }
  return new Uint8Array(bytes);
}
