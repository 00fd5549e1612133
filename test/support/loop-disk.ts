/**
 * Disks of the tests' own: file systems in files, mounted through loop devices, in one folder that a
 * guard holds. At the test's end, or when its process is gone in whatever way, the guard ends what
 * carries `env`, thaws and unmounts what is mounted there, and removes the folder (guard.sh).
 *
 * Needs root and loop devices; `WITHOUT_DISKS` says why a test that needs them is skipped.
 */

import { execFile } from 'node:child_process'
import { accessSync } from 'node:fs'
import { mkdir, mkdtemp, rm, statfs, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import type { TestContext } from 'node:test'
import { promisify } from 'node:util'
import { commandNeed, type Need, systemPath } from '../../cli/setup/engine-install.ts'
import { startGuard } from './guard.ts'

export const MiB = 1024 * 1024

const hasLoopDevices = (): boolean => {
  try {
    accessSync('/dev/loop-control')
    return true
  } catch {
    return false
  }
}

/** For a test's `skip`: false where file systems can be mounted. */
export const WITHOUT_DISKS: string | false =
  process.getuid?.() !== 0
    ? 'mounting a file system needs root'
    : !hasLoopDevices() && 'mounting a file system needs loop devices'

/** Nothing is installed where the tests are skipped anyway. */
export const DISK_NEEDS: readonly Need[] =
  WITHOUT_DISKS === false
    ? [commandNeed('mkfs.ext4', 'e2fsprogs'), commandNeed('mkfs.xfs', 'xfsprogs')]
    : []

const execute = promisify(execFile)

const run = async (command: string, ...args: readonly string[]): Promise<void> => {
  await execute(command, args, { env: { ...process.env, PATH: systemPath() } })
}

const MAKE = {
  ext4: ['mkfs.ext4', '-q', '-m', '0'],
  xfs: ['mkfs.xfs', '-q', '-m', 'reflink=1'],
} as const

export interface LoopDisks {
  /** For processes that may hold files on the disks: they are ended before the disks are taken away. */
  readonly env: NodeJS.ProcessEnv
  /** A file `path` that holds an empty file system. XFS takes no less than 300 MB; the file is sparse. */
  format(kind: keyof typeof MAKE, path: string, bytes: number): Promise<void>
  /** A path for a new disk's file. */
  file(name: string): string
  /** Where the file system in the file at `path` is mounted. */
  mount(path: string): Promise<string>
  unmount(mount: string): Promise<void>
}

export const openLoopDisks = async (t: TestContext): Promise<LoopDisks> => {
  const dir = await mkdtemp(join(tmpdir(), 'disks-'))
  const guard = await startGuard({
    ...{ dir, cgroup: basename(dir), command: ['cat'] },
    logPath: join(dir, 'guard.log'),
  })
  t.after(() => guard.release())
  let mounts = 0
  return {
    env: { ...process.env, HYPER_TEST_DIR: dir },
    file: (name) => join(dir, name),
    async format(kind, path, bytes) {
      await writeFile(path, '')
      await truncate(path, bytes)
      const [command, ...args] = MAKE[kind]
      await run(command, ...args, path)
    },
    async mount(path) {
      mounts += 1
      const mount = join(dir, `mount-${mounts}`)
      await mkdir(mount)
      await run('mount', '-o', 'loop', path, mount)
      return mount
    },
    unmount: (mount) => run('umount', mount),
  }
}

/** One small ext4, mounted. */
export const mountSmall = async (t: TestContext, bytes: number): Promise<string> => {
  const disks = await openLoopDisks(t)
  const file = disks.file('disk')
  await disks.format('ext4', file, bytes)
  return disks.mount(file)
}

/** Fills the disk until `leftBytes` are free; resolves with what frees it again. */
export const fill = async (mount: string, leftBytes: number): Promise<() => Promise<void>> => {
  const { bavail, bsize } = await statfs(mount)
  const path = join(mount, 'ballast')
  await writeFile(path, Buffer.alloc(Math.max(0, bavail * bsize - leftBytes), 1))
  return () => rm(path)
}

/** Long enough for what a test sees in it, too short to outlive a runner that was killed. */
const FREEZE_S = 10

/** Makes every write to the disk hang, until what it resolves with is called. */
export const freeze = async (mount: string): Promise<() => Promise<void>> => {
  await run('fsfreeze', '-f', mount)
  // A process that hangs in a write cannot be ended, and its guard waits for its end: so somebody
  // else thaws the disk in any case.
  const script = 'timeout "$2" cat; fsfreeze -u "$1"'
  const thawing = execute('sh', ['-c', script, 'sh', mount, `${FREEZE_S}`], {
    env: { PATH: systemPath() },
  })
  return async () => {
    thawing.child.stdin?.end()
    await thawing
  }
}
