/**
 * The folder that every function container sees at `/.hyper-…`: hyper-init and its dead man's switch.
 *
 * It lies in the agent's home under a name made from the program's content, so that an upgrade
 * never changes a program under running containers; those of older versions stay, and their
 * switches are turned as well. Modes are set by chmod, whatever the umask: containers run as any
 * user.
 */

import { createHash } from 'node:crypto'
import { chmod, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { HyperError, isMissing, messageOf } from '../protocol/errors.ts'

const HASH_CHARS = 16

export interface InitMount {
  /** To be mounted. */
  readonly dir: string
  /** The switches of all versions that containers may still see. */
  readonly switchPaths: readonly string[]
}

/** Octal escapes of /proc/self/mountinfo: `\040` is a space. */
const unescapePath = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_match, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  )

/** The options of the mount that `path` lies on. Pure. */
export const mountOptionsOf = (mountInfo: string, path: string): readonly string[] => {
  let longest = { point: '', options: '' }
  for (const line of mountInfo.split('\n')) {
    const [, , , , rawPoint, options] = line.split(' ')
    if (rawPoint === undefined || options === undefined) continue
    const point = unescapePath(rawPoint)
    const isAbove = path === point || path.startsWith(point === '/' ? '/' : `${point}/`)
    // Of two mounts on one point the later one is seen.
    if (isAbove && point.length >= longest.point.length) longest = { point, options }
  }
  return longest.options.split(',')
}

const refuseUnsuitable = async (dir: string): Promise<void> => {
  const mountInfo = await readFile('/proc/self/mountinfo', 'utf8').catch(() => '')
  if (mountOptionsOf(mountInfo, dir).includes('noexec')) {
    throw new HyperError(
      'ENGINE_UNSUITABLE',
      `${dir} is on a file system mounted noexec, so no container could start; set HYPER_HOME to another folder`,
    )
  }
}

/** Written under another name and renamed: whoever finds it finds it whole. */
const install = async (program: Uint8Array, path: string): Promise<void> => {
  const unfinished = `${path}.${process.pid}`
  const file = await open(unfinished, 'w', 0o755)
  try {
    await file.writeFile(program)
    await file.chmod(0o555)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(unfinished, path)
}

const isPresent = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  )

/** Reads the program from the build's folder; says what is missing if it is not there. */
const readProgram = async (initDir: string): Promise<Uint8Array> => {
  const path = join(initDir, 'hyper-init')
  try {
    return await readFile(path)
  } catch (cause) {
    const how = isMissing(cause)
      ? 'is not there: run `npm run build` in the checkout, or install a package that `npm pack` made of one'
      : `cannot be read: ${messageOf(cause)}`
    throw new HyperError('ENGINE_UNSUITABLE', `${path} ${how}`, { cause })
  }
}

export const prepareInitMount = async (deps: {
  readonly home: string
  readonly initDir: string
}): Promise<InitMount> => {
  const program = await readProgram(deps.initDir)
  const hash = createHash('sha256').update(program).digest('hex').slice(0, HASH_CHARS)
  const root = join(deps.home, 'init')
  const dir = join(root, hash)
  await mkdir(dir, { recursive: true })
  await refuseUnsuitable(dir)
  if (!(await isPresent(join(dir, 'hyper-init')))) {
    await install(program, join(dir, 'hyper-init'))
  }
  await chmod(dir, 0o755)
  const versions = await readdir(root)
  return { dir, switchPaths: versions.map((version) => join(root, version, 'switch')) }
}

/** Removes the versions that no container of ours can see any more. */
export const removeOldInitMounts = async (home: string, current: InitMount): Promise<void> => {
  const root = join(home, 'init')
  for (const version of await readdir(root)) {
    const dir = join(root, version)
    if (dir !== current.dir) await rm(dir, { recursive: true, force: true })
  }
}
