/**
 * The programs in C for the machine that the agent runs on. The package has them for the machine
 * that it was made on; on one of another kind they are compiled at the agent's start, from the
 * sources that the package has as well.
 */

import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { HyperError, messageOf } from '../../protocol/errors.ts'
import { buildInit } from './build.ts'

/** ELF's numbers of machines, by Node's names, and where they stand in a program. */
const MACHINES: Readonly<Partial<Record<NodeJS.Architecture, number>>> = { x64: 62, arm64: 183 }
const MACHINE_OFFSET = 18
const HEAD_BYTES = 20

type ProgramsRequest = {
  /** The package's folder of programs. */
  readonly initDir: string
  /** The agent's own folder: what has to be compiled is kept there. */
  readonly home: string
  readonly progress: (message: string) => void
  readonly arch?: NodeJS.Architecture
  readonly cc?: string
}

/** ELF's number of this machine; null where none is known. */
export const ownMachine = (arch: NodeJS.Architecture = process.arch): number | null =>
  MACHINES[arch] ?? null

/** Null where there is no such program. */
export const machineOf = async (path: string): Promise<number | null> => {
  const file = await open(path).catch(() => null)
  if (file === null) return null
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0)
    return bytesRead === HEAD_BYTES ? buffer.readUInt16LE(MACHINE_OFFSET) : null
  } finally {
    await file.close()
  }
}

/**
 * The folder with `hyper-init`, `hyper-keeper` and `hello` for this machine. Without a C compiler for it, an
 * ENGINE_UNSUITABLE that says what to install.
 */
export const findPrograms = async (request: ProgramsRequest): Promise<string> => {
  const { initDir, home, progress, arch = process.arch, cc = 'cc' } = request
  const found = await machineOf(join(initDir, 'hyper-init'))
  const own = ownMachine(arch)
  // One that is missing is named by who needs it.
  if (found === null || own === null || found === own) return initDir
  progress(`This package was made on another kind of machine: compiling hyper-init for ${arch}.`)
  const outDir = join(home, 'programs')
  try {
    await buildInit({ outDir, cc })
  } catch (cause) {
    const reason = messageOf(cause)
    throw new HyperError(
      'ENGINE_UNSUITABLE',
      `the programs of this package are not for ${arch}, and they cannot be compiled here: ${reason}`,
      { cause },
    )
  }
  return outDir
}
