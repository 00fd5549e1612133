/** What the OCI runner stands on: root on the engine's own host, and the runtime that the engine uses. */

import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { basename, isAbsolute, join } from 'node:path'
import type { EngineFacts } from '../../engine.ts'
import type { Cgroups } from './cgroups.ts'

const FOLDERS = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']
/** Those whose containers were compared with the engine's. */
const DEFAULT_PROGRAMS = ['runc', 'crun']
/** Those that are started directly, whatever name the engine has them under. */
const DIRECT_PROGRAMS = [...DEFAULT_PROGRAMS, 'runsc']
/** A keeper's lists of words end with it. */
const END_OF_WORDS = '--'
const STORAGE = 'overlay2'

const isExecutable = (path: string): Promise<boolean> =>
  access(path, constants.X_OK).then(
    () => true,
    () => false,
  )

const findProgram = async (name: string): Promise<string> => {
  for (const folder of FOLDERS) {
    const path = join(folder, name)
    if (await isExecutable(path)) return path
  }
  throw new Error(`${name} is not on this host`)
}

/**
 * The program of a runtime that the engine has under this name, by its full path, and what it is
 * always told. Throws where it is not one of those that are started directly.
 */
export const findNamedRuntime = async (
  facts: Pick<EngineFacts, 'runtimeWords'> | null,
  name: string,
): Promise<readonly string[]> => {
  const [program, ...words] = facts?.runtimeWords[name] ?? []
  if (words.includes(END_OF_WORDS))
    throw new Error(`the engine gives ${name} a word ${END_OF_WORDS}`)
  if (program === undefined || !DIRECT_PROGRAMS.includes(basename(program)))
    throw new Error(`the runtime ${name} is started by the engine alone`)
  return [isAbsolute(program) ? program : await findProgram(program), ...words]
}

/** The program of the engine's default runtime. Throws what is missing. */
export const checkGround = async (of: {
  readonly facts: EngineFacts | null
  readonly keeper: string
  readonly cgroups: Pick<Cgroups, 'trouble'>
}): Promise<string> => {
  if (process.getuid?.() !== 0) throw new Error('the agent is not root')
  if (of.cgroups.trouble !== '') throw new Error(of.cgroups.trouble)
  if (!(await isExecutable(of.keeper))) throw new Error(`${of.keeper} is not built`)
  const { product = '', defaultRuntime = '', storageDriver = '' } = of.facts ?? {}
  if (product !== 'Docker') throw new Error(`the engine is ${product}, not Docker`)
  if (storageDriver !== STORAGE) {
    throw new Error(`the engine’s storage driver is ${storageDriver}, not ${STORAGE}`)
  }
  if (!DEFAULT_PROGRAMS.includes(defaultRuntime)) {
    throw new Error(`the engine’s default runtime is ${defaultRuntime}`)
  }
  return findProgram(defaultRuntime)
}
