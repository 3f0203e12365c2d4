import type { Assist } from '../assist.ts';
import { INTEGER_ASSISTS } from './integer.ts';

/** Every assist, by the name that semantics use. */
export const ASSISTS: Readonly<Record<string, Assist>> = { ...INTEGER_ASSISTS };
