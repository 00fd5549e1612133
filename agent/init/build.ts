/**
 * Compiles the static programs that are written in C: hyper-init, hyper-keeper, and the program of
 * the `hello` image. They are made under another name and then renamed, so that whoever finds one
 * finds a whole one.
 */

import { execFile } from 'node:child_process'
import { mkdir, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'

type CompileOptions = {
  /** The C compiler, `cc` unless told otherwise; `aarch64-linux-gnu-gcc` compiles for arm64. */
  cc?: string
  /** Further arguments, of tests: macros for shorter times, sources of their own. */
  args?: readonly string[]
}

type BuiltInit = { initPath: string; helloPath: string; keeperPath: string }

const FLAGS = ['-static', '-O2', '-Wall', '-Wextra', '-Werror', '-std=gnu11', '-s']
const SOURCES = {
  'hyper-init': ['hyper-init.c', 'watch.c', 'child.c', 'frame.c', 'marks.c', 'leave.c'],
  'hyper-keeper': [
    'hyper-keeper.c',
    'keeper-zygote.c',
    'keeper-mounts.c',
    'keeper-link.c',
    'keeper-start.c',
    'keeper-streams.c',
    'keeper-cgroups.c',
  ],
  hello: ['hello.c'],
} as const
const COMPILE_MS_MAX = 120_000

const run = promisify(execFile)

/** All programs, as `hyper-init`, `hyper-keeper` and `hello` in `outDir`. What is there already is replaced. */
export async function buildInit({
  outDir,
  cc = 'cc',
}: {
  outDir: string
  cc?: string
}): Promise<BuiltInit> {
  const initPath = join(outDir, 'hyper-init')
  const helloPath = join(outDir, 'hello')
  const keeperPath = join(outDir, 'hyper-keeper')
  await mkdir(outDir, { recursive: true })
  await Promise.all([
    compileProgram('hyper-init', initPath, { cc }),
    compileProgram('hello', helloPath, { cc }),
    compileProgram('hyper-keeper', keeperPath, { cc }),
  ])
  return { initPath, helloPath, keeperPath }
}

export async function compileProgram(
  name: keyof typeof SOURCES,
  output: string,
  { cc = 'cc', args = [] }: CompileOptions = {},
): Promise<void> {
  const folder = await sourceFolder()
  const sources = SOURCES[name].map((source) => join(folder, source))
  const unfinished = join(dirname(output), `.${basename(output)}.${process.pid}`)
  try {
    await callCompiler(cc, [...FLAGS, ...sources, ...args, '-o', unfinished])
    await rename(unfinished, output)
  } finally {
    await rm(unfinished, { force: true })
  }
}

/** The C files stay where they are when this module is emitted to `dist/agent/init`. */
async function sourceFolder(): Promise<string> {
  const here = import.meta.dirname
  const beside = await stat(join(here, 'hyper-init.c')).then(
    () => true,
    () => false,
  )
  return beside ? here : join(here, '..', '..', '..', 'agent', 'init')
}

/** Throws an Error that says what to install, or what the compiler said. */
export async function callCompiler(cc: string, args: readonly string[]): Promise<void> {
  try {
    await run(cc, args, { timeout: COMPILE_MS_MAX })
  } catch (error) {
    if (!(error instanceof Error)) throw error
    if ('code' in error && error.code === 'ENOENT') {
      const advice = 'install one, on Debian and Ubuntu with `apt-get install gcc libc6-dev`'
      throw new Error(`hyper-init needs a C compiler, and there is no ${cc}: ${advice}`)
    }
    const said = 'stderr' in error && typeof error.stderr === 'string' ? error.stderr : ''
    const advice = /cannot find -lc|No such file/.test(said)
      ? ' (the static C library may be missing: `apt-get install gcc libc6-dev`)'
      : ''
    throw new Error(`${cc} could not compile hyper-init${advice}:\n${said || error.message}`)
  }
}
