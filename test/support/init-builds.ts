/**
 * The programs in C that tests run: hyper-init in several forms, and programs of the tests' own.
 * Each is compiled once for all files of a run and kept in the run's folder, under a name made of
 * everything that it is made of. A test file that runs by itself compiles its own.
 */

import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { chmod, glob, mkdir, readFile, rename, rmdir, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { callCompiler, compileProgram } from '../../agent/init/build.ts'
import { commandNeed, findCommand, type Need } from '../../cli/setup/engine-install.ts'
import { eventually } from './eventually.ts'

/** Whether hyper-init can also be tested for arm64: on arm64 it is anyhow. */
export const isEmulatorNeeded = process.arch === 'x64'

/**
 * Not `qemu-user-static`: that one may register itself with the kernel, which would then run every
 * program for arm64, also those that tests want refused.
 */
export const CROSS_NEEDS: readonly Need[] = isEmulatorNeeded
  ? [
      commandNeed('aarch64-linux-gnu-gcc', 'gcc-aarch64-linux-gnu', 'libc6-dev-arm64-cross'),
      commandNeed('qemu-aarch64', 'qemu-user'),
    ]
  : []

/** Longer than a compiler takes on a machine that does much else. */
const BUILT_MS = 120_000

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Folders above it may be closed to others; hyper-init is run as other users as well. */
const makeFolder = (() => {
  let own: string | undefined
  return async (): Promise<string> => {
    const shared = process.env.HYPER_TEST_DIR
    if (shared === undefined) {
      if (own === undefined) {
        const made = mkdtempSync(join(tmpdir(), 'hyper-init-builds-'))
        process.once('exit', () => rmSync(made, { recursive: true, force: true }))
        own = made
      }
      await chmod(own, 0o755)
      return own
    }
    const folder = join(shared, 'tmp', 'init-builds')
    await mkdir(folder, { recursive: true, mode: 0o755 })
    return folder
  }
})()

/** Of all C files and of the compiler's flags: a few files, read in a millisecond. */
const hashOf = async (recipe: readonly unknown[]): Promise<string> => {
  const hash = createHash('sha256').update(JSON.stringify(recipe))
  const paths: string[] = []
  for await (const path of glob(['agent/init/*.{c,h}', 'agent/init/build.ts', 'test/support/*.c'], {
    cwd: root,
  })) {
    paths.push(path)
  }
  for (const path of paths.sort()) hash.update(await readFile(join(root, path)))
  return hash.digest('hex').slice(0, 16)
}

const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  )

/** The path of a program that `compile` makes, unless another file of this run has made it. */
const builtOnce = async (
  name: string,
  recipe: readonly unknown[],
  compile: (path: string) => Promise<void>,
): Promise<string> => {
  const path = join(await makeFolder(), `${name}-${await hashOf([name, ...recipe])}`)
  const turn = `${path}.turn`
  return eventually(async () => {
    if (await isThere(path)) return path
    // Who makes this folder compiles, others wait; where that failed, the next one tries.
    const isOurs = await mkdir(turn).then(
      () => true,
      () => false,
    )
    if (!isOurs) return undefined
    try {
      if (await isThere(path)) return path
      await compile(`${path}.unfinished`)
      await rename(`${path}.unfinished`, path)
      return path
    } finally {
      await rmdir(turn)
    }
  }, BUILT_MS)
}

/** Whether hyper-init is one for arm64, under an emulator: see init/arm64.test.ts. */
export const isEmulated = process.env.HYPER_TEST_INIT_EMULATED === '1'

const compiler = isEmulated ? 'aarch64-linux-gnu-gcc' : 'cc'

/** A program of the agent's as it is to be started: by itself, or by the emulator. */
const builtForAgent = async (
  name: 'hyper-init' | 'hello',
  args: readonly string[],
): Promise<string> => {
  const path = await builtOnce(name, [compiler, args], (unfinished) =>
    compileProgram(name, unfinished, { cc: compiler, args }),
  )
  if (!isEmulated) return path
  const emulator = (await findCommand('qemu-aarch64')) ?? 'qemu-aarch64'
  return builtProgram('emulated', [`-DEMULATOR="${emulator}"`, `-DPROGRAM="${path}"`])
}

type InitBuild = {
  /** Macros. */
  readonly defines?: Readonly<Record<string, string | number>>
  /** Further arguments of the compiler. */
  readonly args?: readonly string[]
}

/** The path of hyper-init. */
export const builtInit = ({ defines = {}, args = [] }: InitBuild = {}): Promise<string> => {
  const macros = Object.entries(defines).map(([name, value]) => `-D${name}=${value}`)
  return builtForAgent('hyper-init', [...macros, ...args])
}

/** The path of the hello image's program. */
export const builtHello = (): Promise<string> => builtForAgent('hello', [])

export const sourceOf = (name: string): string => join(root, 'test', 'support', `${name}.c`)

/** The path of the tests' own program that test/support/NAME.c is the source of. */
export const builtProgram = (name: string, args: readonly string[] = []): Promise<string> =>
  builtOnce(name, args, async (unfinished) => {
    const flags = ['-O1', '-g', '-Wall', '-Wextra', '-Werror', '-std=gnu11']
    await callCompiler('cc', [...flags, sourceOf(name), ...args, '-o', unfinished])
  })
