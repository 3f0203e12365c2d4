import { defineConfig } from 'vitest/config';

/** The long runs against other decoders, CPUs and machines: `npm run judge [name]`. */
export default defineConfig({
  test: { include: ['test/judges/**/*.judge.ts'], testTimeout: 3_600_000, fileParallelism: false },
});
