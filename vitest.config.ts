import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    maxWorkers: '100%',
    // No test asserts on time; this only ends one that hangs.
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
