/** What the bundled guests call events, and the encodings they program. */
// biome-ignore format: a table
export const GUEST_EVENTS: Readonly<Record<string, { readonly event: number; readonly umask: number }>> = {
  'instructions': { event: 0xc0, umask: 0x00 },  'branches':     { event: 0xc4, umask: 0x00 },
  'near-calls':   { event: 0xc4, umask: 0x02 },  'near-returns': { event: 0xc4, umask: 0x08 },
  'not-taken':    { event: 0xc4, umask: 0x10 },  'near-taken':   { event: 0xc4, umask: 0x20 },
  'far-branches': { event: 0xc4, umask: 0x40 },  'loads':        { event: 0xd0, umask: 0x81 },
  'stores':       { event: 0xd0, umask: 0x82 },  'locked-loads': { event: 0xd0, umask: 0x21 },
  'cycles':       { event: 0x3c, umask: 0x00 },  'ref-cycles':   { event: 0x3c, umask: 0x01 },
};

/** A reading's name taken apart: `mixed-branches` is event `branches` of region `mixed`; without a region, the first. */
export function readingOf(
  name: string,
  regions: readonly string[],
): { region: string; event: number; umask: number } | undefined {
  const event = Object.keys(GUEST_EVENTS).find(
    (known) =>
      name === known ||
      (name.endsWith(`-${known}`) && regions.includes(name.slice(0, -known.length - 1))),
  );
  if (event === undefined) return undefined;
  const region = name === event ? regions[0] : name.slice(0, -event.length - 1);
  return region === undefined ? undefined : { region, ...GUEST_EVENTS[event]! };
}
