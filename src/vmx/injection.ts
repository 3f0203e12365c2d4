import type { Event } from '../cpu/event.ts';
import type { Entry } from './entry-checks/entry.ts';
import { eventOf, OTHER_EVENT } from './interruption.ts';

/** What VM entry injects. Vol. 3, "Event Injection". */
export function injectionOf(entry: Entry): Event | 'monitor-trap' | undefined {
  if (entry.injection === 0) return undefined;
  if (entry.injects(OTHER_EVENT)) return 'monitor-trap';
  const code = entry.read32('VM_ENTRY_EXCEPTION_ERROR_CODE');
  return eventOf(entry.injection, code, entry.read32('VM_ENTRY_INSTRUCTION_LENGTH'));
}
