/**
 * The areas of tests, and how one area's files are run: by Node's test runner, each file in a process
 * of its own or, where most of their time would go into loading, several in one; under one deadline
 * for the area.
 */

import { readdir, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'
import { fileURLToPath, pathToFileURL } from 'node:url'

export type Area = {
  readonly name: string
  /** Whether it is handed a Docker engine, the test images and hyper-init. */
  readonly hasEngine: boolean
  /** Processes side by side. */
  readonly concurrency: number
  /** As many processes share its files: a test must leave its process as it found it. */
  readonly hasSharedProcesses?: boolean
  readonly timeoutMs: number
  /** For one test: one that hangs is told by its name, and does not take the area's time. */
  readonly testTimeoutMs: number
  /** Where its files are, if not in a folder of its name, and which of them are its own. */
  readonly of?: { readonly folder: string; readonly files: RegExp }
  /** Beside what all areas are handed. */
  readonly environment?: Readonly<Record<string, string>>
}

export type Counts = { readonly passed: number; readonly failed: number }

const minute = 60_000
const testTimeoutMs = 4 * minute

const withEngine = (name: string, timeoutMs: number): Area => ({
  name,
  hasEngine: true,
  concurrency: 1,
  timeoutMs,
  testTimeoutMs,
})

const withoutEngine = (name: string, timeoutMs: number): Area => ({
  name,
  hasEngine: false,
  concurrency: availableParallelism(),
  timeoutMs,
  testTimeoutMs,
})

/** In the order in which they run: what fails fast comes first. */
export const AREAS: readonly Area[] = [
  { ...withoutEngine('unit', 5 * minute), hasSharedProcesses: true },
  // hyper-init as a process: compiled, for arm64 as well, and with the compiler's sanitizers.
  withoutEngine('init', 10 * minute),
  // The command line as its users start it: a process for every command.
  withoutEngine('cli', 5 * minute),
  // It spreads its seeds over all processors by itself.
  { ...withoutEngine('simulation', 10 * minute), concurrency: 1 },
  withoutEngine('mesh', 8 * minute),
  // Disks of its own, one test at a time: their faults are timed against a writer that runs.
  { ...withoutEngine('faults', 5 * minute), concurrency: 1 },
  withEngine('engine', 20 * minute),
  // What a function sees and does, once more where the OCI runtime is started directly.
  {
    ...withEngine('oci', 15 * minute),
    of: {
      folder: 'engine',
      files:
        /^(agent-calls|agent-pool|agent-recovery|bridge|fences|hostile-(?!reuse).*)\.test\.ts$/,
    },
    environment: { HYPER_TEST_RUNNER: 'oci' },
  },
  withEngine('e2e', 25 * minute),
]

/** Runs only when it is asked for by name. */
export const SOAK: Area = { ...withEngine('soak', 120 * minute), testTimeoutMs: 120 * minute }

/** The area's test files; none where its folder does not exist. */
export const findTestFiles = async (area: Area): Promise<readonly string[]> => {
  const { folder: name, files } = area.of ?? { folder: area.name, files: /./ }
  const folder = fileURLToPath(new URL(`../${name}`, import.meta.url))
  const names = await readdir(folder).catch(() => [])
  return names
    .filter((file) => file.endsWith('.test.ts') && files.test(file))
    .sort()
    .map((file) => join(folder, file))
}

const sharedProcess = new URL('./shared-process.ts', import.meta.url)

/**
 * Deals the files out to so many processes: writes what each of them runs. Its imports are static, so
 * all is loaded before the first test begins, and none is timed against the loading of others.
 */
const dealOut = (files: readonly string[], processes: number, dir: string): Promise<string[]> =>
  Promise.all(
    Array.from({ length: Math.min(processes, files.length) }, async (_, process) => {
      const own = files.filter((_file, at) => at % processes === process)
      const imports = [sharedProcess, ...own.map((file) => pathToFileURL(file))].map(
        ({ href }) => `import '${href}'\n`,
      )
      const path = join(dir, `files-${process + 1}.test.js`)
      await writeFile(path, imports.join(''))
      return path
    }),
  )

/** Runs an area's files, prints every test, and resolves with the counts. */
export const runSuite = async (deps: {
  readonly area: Area
  readonly files: readonly string[]
  /** For what is written to run them. */
  readonly dir: string
  readonly env: NodeJS.ProcessEnv
  /** Ends the suite before its time. */
  readonly signal: AbortSignal
}): Promise<Counts> => {
  const { area, files, dir, env, signal } = deps
  const deadline = AbortSignal.timeout(area.timeoutMs)
  const events = run({
    files: area.hasSharedProcesses ? await dealOut(files, area.concurrency, dir) : [...files],
    concurrency: area.concurrency,
    env,
    timeout: area.testTimeoutMs,
    signal: AbortSignal.any([signal, deadline]),
  })
  let passed = 0
  let failed = 0
  events.on('test:summary', ({ file, counts }) => {
    // There is one of these for each file, too; the one without a file counts them all.
    if (file !== undefined) return
    passed = counts.passed
    failed = counts.tests - counts.passed - counts.skipped - counts.todo
  })
  const report = events.compose(new spec())
  for await (const chunk of report) process.stdout.write(String(chunk))
  if (deadline.aborted) {
    process.stdout.write(`✖ ${area.name} did not end in ${area.timeoutMs / minute} min\n`)
    failed += 1
  }
  return { passed, failed }
}
