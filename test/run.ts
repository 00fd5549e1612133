/**
 * The test runner: `node test/run.ts [AREA…]`. Without an area it runs all of them but `soak`.
 * Areas that need an engine share one, started once. Everything lives in one temporary folder;
 * what is left behind at the end counts as a failed test. The last line counts the tests; the exit
 * status is 0 only if some ran and none failed.
 * A first SIGINT or SIGTERM ends the suite and cleans up; should this process be killed, its guards
 * clean up (see support/guard.ts).
 */

import { access, mkdir, mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { COMPILER_NEEDS, ENGINE_NEEDS, ensurePackages } from '../cli/setup/engine-install.ts'
import { messageOf } from '../protocol/errors.ts'
import { canMount, DISK_NEEDS } from './support/disk.ts'
import { RUNTIME_NEEDS } from './support/engine.ts'
import { startGuard } from './support/guard.ts'
import { IMAGE_NEEDS } from './support/images.ts'
import { CROSS_NEEDS } from './support/init-builds.ts'
import { waitForNoLeftovers } from './support/leftovers.ts'
import { AREAS, type Area, type Counts, findTestFiles, runSuite, SOAK } from './support/suites.ts'
import { startWorkbench, type Workbench } from './support/workbench.ts'

const GONE_MS = 10_000

type Suite = { readonly area: Area; readonly files: readonly string[] }

const say = (line: string): void => {
  process.stdout.write(`${line}\n`)
}

const secondsSince = (start: number): string =>
  `${((performance.now() - start) / 1000).toFixed(1)} s`

/** The asked-for areas that have tests; a name that is no area throws. */
const chooseSuites = async (names: readonly string[]): Promise<readonly Suite[]> => {
  const known = [...AREAS, SOAK]
  const unknown = names.find((name) => !known.some((area) => area.name === name))
  if (unknown !== undefined) {
    throw new Error(`no area ${unknown}; there are ${known.map((area) => area.name).join(', ')}`)
  }
  const areas = names.length === 0 ? AREAS : known.filter((area) => names.includes(area.name))
  const suites = await Promise.all(
    areas.map(async (area) => ({ area, files: await findTestFiles(area) })),
  )
  return suites.filter((suite) => suite.files.length > 0)
}

/** The user's own settings of hyper and Docker stay out; everything a test makes lands in `dir`. */
const makeEnvironment = (dir: string): NodeJS.ProcessEnv => ({
  ...Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(HYPER|DOCKER)_/.test(name)),
  ),
  HYPER_TEST_DIR: dir,
  HYPER_HOME: join(dir, 'home'),
  TMPDIR: join(dir, 'tmp'),
  // Test files and the programs that they start are many processes: they share what Node made of the sources.
  NODE_COMPILE_CACHE: join(dir, 'compiled'),
})

const runSuites = async (
  suites: readonly Suite[],
  dir: string,
  signal: AbortSignal,
): Promise<Counts> => {
  let workbench: Workbench | undefined
  let passed = 0
  let failed = 0
  try {
    for (const { area, files } of suites) {
      if (signal.aborted) break
      if (area.hasEngine && workbench === undefined) {
        await ensurePackages(
          [...ENGINE_NEEDS, ...COMPILER_NEEDS, ...IMAGE_NEEDS, ...RUNTIME_NEEDS],
          say,
        )
        const start = performance.now()
        workbench = await startWorkbench({ dir })
        say(`test engine, registry and images: ready in ${secondsSince(start)}`)
      }
      if (area.name === 'init') await ensurePackages([...COMPILER_NEEDS, ...CROSS_NEEDS], say)
      const hasDisks = ['faults', 'engine', 'oci'].includes(area.name)
      if (hasDisks && canMount) await ensurePackages(DISK_NEEDS, say)
      const env = {
        ...makeEnvironment(dir),
        ...(area.hasEngine ? workbench?.environment : {}),
        ...area.environment,
      }
      const start = performance.now()
      const counts = await runSuite({ area, files, dir, env, signal })
      passed += counts.passed
      failed += counts.failed
      say(
        `${area.name}: ${counts.passed} passed, ${counts.failed} failed in ${secondsSince(start)}`,
      )
    }
  } catch (error) {
    say(`✖ ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
    failed += 1
  } finally {
    await workbench?.stop().catch((error: unknown) => {
      say(`✖ ${messageOf(error)}`)
      failed += 1
    })
  }
  return { passed, failed }
}

/** Runs `use` with a folder that is gone afterwards, and counts `left behind: nothing`. */
const withFolder = async (use: (dir: string) => Promise<Counts>): Promise<Counts> => {
  const dir = await mkdtemp(join(tmpdir(), 'hyper-test-'))
  await mkdir(join(dir, 'tmp'))
  const guard = await startGuard({
    dir,
    cgroup: basename(dir),
    command: ['cat'],
    logPath: join(dir, 'guard.log'),
  })
  let left: readonly string[] = []
  try {
    const { passed, failed } = await use(dir)
    left = await waitForNoLeftovers({ dir }, GONE_MS)
    await guard.release()
    const isGone = await access(dir).then(
      () => false,
      () => true,
    )
    if (!isGone) left = [...left, `folder: ${dir}`]
    say(left.length === 0 ? '✔ left behind: nothing' : `✖ left behind:\n${left.join('\n')}`)
    return left.length === 0 ? { passed: passed + 1, failed } : { passed, failed: failed + 1 }
  } finally {
    await guard.release()
  }
}

const main = async (): Promise<void> => {
  const stopping = new AbortController()
  const stop = (): void => {
    if (stopping.signal.aborted) process.exit(130)
    say('Stopping ...')
    stopping.abort()
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  let ran = 0
  const { passed, failed } = await chooseSuites(process.argv.slice(2)).then(
    (suites) =>
      withFolder(async (dir) => {
        const counts = await runSuites(suites, dir, stopping.signal)
        ran = counts.passed + counts.failed
        return counts
      }),
    (error: unknown) => {
      say(`✖ ${messageOf(error)}`)
      return { passed: 0, failed: 1 }
    },
  )
  if (stopping.signal.aborted) say('Stopped before the end: not all tests ran.')
  const isEmpty = ran === 0 && failed === 0
  if (isEmpty) say('✖ no tests ran')
  const counts = isEmpty ? { passed: 0, failed: 1 } : { passed, failed }
  const isGood = counts.failed === 0 && !stopping.signal.aborted
  process.stdout.write(`${counts.passed} passed, ${counts.failed} failed\n`, () =>
    process.exit(isGood ? 0 : 1),
  )
}

await main()
