/**
 * File systems of a test's own, on loop devices: small ones that fill, and ones that can be cloned
 * while a process writes to them, which is what a power cut leaves. Needs root and loop devices;
 * `canMount` is false where a test has to be skipped. All is unmounted when the test ends; should its
 * process be killed, the runner's guard does it (guard.sh).
 */

import { execFile } from 'node:child_process'
import { constants } from 'node:fs'
import { copyFile, mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
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

/** The least that mkfs.xfs makes. */
const XFS_BYTES = 320 * MiB
const EXT4_BYTES = 64 * MiB

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

/** An ext4 of 64 MB. */
export const mountSmallDisk = async (context: TestContext): Promise<string> => {
  const { folder, mount } = await makeMounts(context)
  const image = join(folder, 'disk')
  await makeImage(image, EXT4_BYTES, 'mkfs.ext4', '-q', '-m', '0')
  return mount(image, 'mount')
}

interface CloneableDisk {
  readonly path: string
  /**
   * The disk as it would be found had the power gone at this moment: what the system only holds in
   * memory is not on it. Mounted until it is dropped.
   */
  cutPower(): Promise<{ readonly path: string; drop(): Promise<void> }>
}

/** An ext4 whose image lies on an XFS, which can copy a file without copying it. */
export const mountCloneableDisk = async (context: TestContext): Promise<CloneableDisk> => {
  const { folder, mount, unmount } = await makeMounts(context)
  const base = join(folder, 'base')
  await makeImage(base, XFS_BYTES, 'mkfs.xfs', '-q', '-m', 'reflink=1')
  const xfs = await mount(base, 'xfs')
  const image = join(xfs, 'disk')
  await makeImage(image, EXT4_BYTES, 'mkfs.ext4', '-q', '-m', '0')
  let clones = 0
  return {
    path: await mount(image, 'mount'),
    async cutPower() {
      clones += 1
      const name = `clone-${clones}`
      const clone = join(xfs, name)
      await copyFile(image, clone, constants.COPYFILE_FICLONE_FORCE)
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
