import { hex } from '../bits/hex.ts';
import {
  isAccess,
  type ListedMsr,
  type MsrList,
  type NestedCase,
  type Step,
  type StrayPointer,
} from './case.ts';
import type { Draw } from './draw.ts';
import { listVerdict } from './oracles/lists.ts';
import { savesGlobalCtrl } from './oracles/nested-entry.ts';
import type { Shape } from './oracles/shapes.ts';
import { FAVOURITES, OPENED, UNLOADABLE, value } from './values.ts';

/** What the guest's guest is let do: drawn for the steps that it is going to do. */
export function nestedCase(
  draw: Draw,
  parts: {
    readonly profile: string;
    /** Of the guest's PMU. */
    readonly shape: Shape;
    readonly steps: readonly Step[];
  },
): NestedCase {
  const { shape, steps } = parts;
  const reached = steps.filter(isAccess).map(({ register }) => register);
  const lists = draw.chance(0.4) ? drawLists(draw, shape) : [];
  // A guest whose PMU has no such register is not offered these controls.
  const offered = shape.version >= 2;
  const globalCtrl = draw.chance(offered ? 0.4 : 0.1) ? loads(draw, parts) : undefined;
  const map = draw.chance(0.85) ? bitmap(draw, reached) : undefined;
  const pointers = [...(map ? (['bitmap'] as const) : []), ...lists.map(({ list }) => list)];
  return {
    ...(map && { bitmap: map }),
    rdpmcExiting: draw.chance(0.5),
    ...(draw.chance(0.3) && { nmiExiting: true }),
    ...(lists.length > 0 && { lists }),
    ...(pointers.length > 0 && draw.chance(0.06) && { stray: stray(draw, pointers) }),
    ...(globalCtrl && { globalCtrl }),
    onExit: draw.weighted([
      [2, 'skip'],
      [4, 'carry-out'],
      [2, 'inject'],
    ] as const),
  };
}

const stray = (draw: Draw, pointers: readonly StrayPointer['of'][]): StrayPointer => ({
  of: draw.of(pointers),
  to: draw.of(['unaligned', 'no-memory', 'too-wide'] as const),
});

/** All open or all shut, but for some registers: most often those that are reached. */
function bitmap(draw: Draw, reached: readonly number[]): NonNullable<NestedCase['bitmap']> {
  const addresses = reached.length > 0 && draw.chance(0.7) ? reached : FAVOURITES;
  return {
    exits: draw.of(['none', 'none', 'all'] as const),
    except: Array.from({ length: draw.below(8) }, () => [
      draw.of(addresses),
      draw.of(['read', 'write'] as const),
    ]),
  };
}

/** Entries that go through; of what VM entry loads some that do not, and rarely one that ends in a VMX abort. */
function drawLists(draw: Draw, shape: Shape): ListedMsr[] {
  const mayAbort = draw.chance(0.05);
  const drawn = Array.from({ length: 1 + draw.below(4) }, (): ListedMsr => {
    const list = draw.of<MsrList>(['entry-load', 'exit-store', 'exit-store', 'exit-load']);
    const from = draw.weighted<readonly number[]>([
      [5, FAVOURITES],
      [3, OPENED],
      [1, UNLOADABLE],
    ]);
    const address = draw.of(from);
    return { list, address, value: hex(value(draw, address, shape)) };
  });
  return drawn.filter((each) => {
    const verdict = listVerdict(shape, each);
    return each.list === 'entry-load' || mayAbort ? verdict !== 'unspecified' : verdict === 'done';
  });
}

/** Values of GLOBAL_CTRL, now and then with a bit that is reserved. */
function loads(
  draw: Draw,
  { profile, shape }: { readonly profile: string; readonly shape: Shape },
): NonNullable<NestedCase['globalCtrl']> {
  const opened = () => {
    const open = value(draw, 0x38f, shape);
    return hex(draw.chance(0.8) ? open & (shape.gp | (shape.fixed << 32n)) : open);
  };
  return {
    ...(draw.chance(0.7) && { entry: opened() }),
    ...(draw.chance(0.7) && { exit: opened() }),
    ...(draw.chance(savesGlobalCtrl({ profile }) ? 0.4 : 0.03) && { save: true }),
  };
}
