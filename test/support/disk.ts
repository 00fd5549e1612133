/**
 * File systems of a test's own, on loop devices: small ones that fill, and ones that can be cloned
 * while a process writes to them, which is what a power cut leaves. Needs root and loop devices;
 * `canMount` is false where a test has to be skipped. All is unmounted when the test ends; should its
 * process be killed, the runner's guard does it (guard.sh).
 */

import { execFile } from 'node:child_process'
import { constants } from 'node:fs'
import { copyFile, mkdir, mkdtemp, rm, statfs, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { promisify } from 'node:util'
import { commandNeed, systemPath } from '../../cli/setup/engine-install.ts'

export const DISK_NEEDS = [
  commandNeed('mkfs.ext4', 'e2fsprogs'),
  commandNeed('mkfs.xfs', 'xfsprogs'),
  commandNeed('losetup', 'mount'),
]

export const canMount = process.getuid?.() === 0

/** What a test that needs them says where it cannot have them. */
export const diskTest = { skip: canMount ? false : 'mounting a file system needs root' }

const MiB = 1024 * 1024

const SMALL_BYTES = 64 * MiB
/** Room for a writer that does not stop; with its clones it fits on the XFS under it. Both are sparse. */
const CLONEABLE_BYTES = 256 * MiB
const XFS_BYTES = 1024 * MiB

const run = (command: string, ...args: readonly string[]) =>
  promisify(execFile)(command, args, { env: { ...process.env, PATH: systemPath() } })

/** A folder that is gone after the test, once what is mounted in it is. */
const makeMounts = async (context: TestContext) => {
  const folder = await mkdtemp(join(tmpdir(), 'hyper-disk-'))
  const mounted: string[] = []
  const unmount = async (path: string): Promise<void> => {
    const at = mounted.indexOf(path)
    if (at === -1) return
    mounted.splice(at, 1)
    await run('umount', path).catch(() => run('umount', '-l', path))
  }
  context.after(async () => {
    for (const path of mounted.toReversed()) await unmount(path)
    await rm(folder, { recursive: true, force: true })
  })
  return {
    folder,
    unmount,
    async mount(image: string, name: string): Promise<string> {
      const path = join(folder, name)
      await mkdir(path)
      await run('mount', '-o', 'loop', image, path)
      mounted.push(path)
      return path
    },
  }
}

export const makeFolder = async (context: TestContext): Promise<string> =>
  (await makeMounts(context)).folder

const makeImage = async (path: string, bytes: number, ...mkfs: string[]): Promise<void> => {
  const [command = '', ...args] = mkfs
  await writeFile(path, '')
  await truncate(path, bytes)
  await run(command, ...args, path)
}

/** An ext4, of 64 MB unless told otherwise. */
export const mountSmallDisk = async (
  context: TestContext,
  bytes = SMALL_BYTES,
): Promise<string> => {
  const { folder, mount } = await makeMounts(context)
  const image = join(folder, 'disk')
  await makeImage(image, bytes, 'mkfs.ext4', '-q', '-m', '0')
  return mount(image, 'mount')
}

/** Fills a disk up to so many bytes; resolves with what frees it again. */
export const fill = async (mount: string, leftBytes = 0): Promise<() => Promise<void>> => {
  const { bavail, bsize } = await statfs(mount)
  const paths = [join(mount, 'ballast'), join(mount, 'ballast-2')] as const
  await writeFile(paths[0], Buffer.alloc(Math.max(0, bavail * bsize - leftBytes), 1)).catch(
    () => undefined,
  )
  // What the file system kept for its own books.
  if (leftBytes === 0) await writeFile(paths[1], Buffer.alloc(MiB, 1)).catch(() => undefined)
  return async () => {
    for (const path of paths) await rm(path, { force: true })
  }
}

interface CloneableDisk {
  readonly path: string
  /**
   * The disk as it would be found had the power gone at this moment: what the system only holds in
   * memory is not on it. Mounted until it is dropped; `afterwards` is done before it is mounted.
   */
  cutPower(
    afterwards?: () => Promise<void>,
  ): Promise<{ readonly path: string; drop(): Promise<void> }>
}

/** An ext4 whose image lies on an XFS, which can copy a file without copying it. */
export const mountCloneableDisk = async (context: TestContext): Promise<CloneableDisk> => {
  const { folder, mount, unmount } = await makeMounts(context)
  const base = join(folder, 'base')
  await makeImage(base, XFS_BYTES, 'mkfs.xfs', '-q', '-m', 'reflink=1')
  const xfs = await mount(base, 'xfs')
  const image = join(xfs, 'disk')
  await makeImage(image, CLONEABLE_BYTES, 'mkfs.ext4', '-q', '-m', '0')
  let clones = 0
  return {
    path: await mount(image, 'mount'),
    async cutPower(afterwards) {
      clones += 1
      const name = `clone-${clones}`
      const clone = join(xfs, name)
      await copyFile(image, clone, constants.COPYFILE_FICLONE_FORCE)
      await afterwards?.()
      const path = await mount(clone, name)
      return {
        path,
        async drop() {
          await unmount(path)
          await rm(clone)
        },
      }
    },
  }
}
