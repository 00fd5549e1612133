/**
 * Compiles the two static programs that are written in C: hyper-init, and the program of the
 * `hello` image. They are made under another name and then renamed, so that whoever finds one
 * finds a whole one. What is newer than its sources is left as it is.
 */

import { execFile } from 'node:child_process'
import { mkdir, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'

type BuildInitOptions = {
  outDir: string
  /** The C compiler, `cc` unless told otherwise; `aarch64-linux-gnu-gcc` makes those for arm64. */
  cc?: string
  /** Macros for tests (shorter times); with any, everything is compiled anew. */
  defines?: Readonly<Record<string, string | number>>
}

type BuiltInit = { initPath: string; helloPath: string }

const FLAGS = ['-static', '-O2', '-Wall', '-Wextra', '-Werror', '-std=gnu11', '-s']
const INIT_SOURCES = ['hyper-init.c', 'watch.c', 'child.c', 'frame.c']
const INIT_HEADERS = ['hyper-init.h']
const COMPILE_MS_MAX = 120_000

const run = promisify(execFile)

export async function buildInit(options: BuildInitOptions): Promise<BuiltInit> {
  const folder = await sourceFolder()
  const initPath = join(options.outDir, 'hyper-init')
  const helloPath = join(options.outDir, 'hello')
  await mkdir(options.outDir, { recursive: true })
  await Promise.all([
    compile(options, folder, INIT_SOURCES, INIT_HEADERS, initPath),
    compile(options, folder, ['hello.c'], [], helloPath),
  ])
  return { initPath, helloPath }
}

/** The C files stay where they are when this module is emitted to `dist/agent/init`. */
async function sourceFolder(): Promise<string> {
  const here = import.meta.dirname
  const beside = (await modifiedMs(join(here, 'hyper-init.c'))) !== null
  return beside ? here : join(here, '..', '..', '..', 'agent', 'init')
}

async function compile(
  options: BuildInitOptions,
  folder: string,
  sources: readonly string[],
  headers: readonly string[],
  output: string,
): Promise<void> {
  const paths = sources.map((name) => join(folder, name))
  const inputs = [...paths, ...headers.map((name) => join(folder, name))]
  if (options.defines === undefined && (await isNewer(output, inputs))) return

  const defines = Object.entries(options.defines ?? {}).map(([name, value]) => `-D${name}=${value}`)
  const unfinished = join(dirname(output), `.${basename(output)}.${process.pid}`)
  try {
    await callCompiler(options.cc ?? 'cc', [...FLAGS, ...defines, ...paths, '-o', unfinished])
    await rename(unfinished, output)
  } finally {
    await rm(unfinished, { force: true })
  }
}

async function callCompiler(cc: string, args: readonly string[]): Promise<void> {
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

async function isNewer(output: string, inputs: readonly string[]): Promise<boolean> {
  const [outputMs, ...inputsMs] = await Promise.all([output, ...inputs].map(modifiedMs))
  if (outputMs === undefined || outputMs === null) return false
  return inputsMs.every((inputMs) => inputMs !== null && inputMs < outputMs)
}

async function modifiedMs(path: string): Promise<number | null> {
  try {
    return (await stat(path)).mtimeMs
  } catch {
    return null
  }
}
