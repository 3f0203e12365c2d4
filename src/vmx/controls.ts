import { PRIMARY } from '../msr/vmx.ts';
import { FIELDS } from './fields.ts';
import type { Vmcs } from './vmcs.ts';

/** The control words of a VMCS; a word that is not activated counts as 0. */
export interface Controls {
  readonly pin: number;
  readonly primary: number;
  readonly secondary: number;
  readonly exit: number;
  readonly entry: number;
}

export function controlsOf(vmcs: Vmcs): Controls {
  const primary = vmcs.read32(FIELDS.PRIMARY_CONTROLS);
  const secondary = (primary & PRIMARY.ACTIVATE_SECONDARY_CONTROLS) !== 0;
  return {
    pin: vmcs.read32(FIELDS.PIN_BASED_CONTROLS),
    primary,
    secondary: secondary ? vmcs.read32(FIELDS.SECONDARY_CONTROLS) : 0,
    exit: vmcs.read32(FIELDS.VM_EXIT_CONTROLS),
    entry: vmcs.read32(FIELDS.VM_ENTRY_CONTROLS),
  };
}
