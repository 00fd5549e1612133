/**
 * A guard: a process outside of the test runner that holds one command and cleans up after it, at
 * `release()` or when the runner is gone, even by SIGKILL (see guard.sh). There is one way to clean
 * up, so that the way that is hard to test is used at every run.
 */

import { spawn } from 'node:child_process'
import { open } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { systemPath } from '../../cli/setup/engine-install.ts'

const RELEASE_MS = 30_000

export type Guard = {
  /** Whether the command has ended (by itself, or through `release`). */
  readonly hasEnded: () => boolean
  /** Ends the command and resolves when everything is cleaned up. Can be called again. */
  readonly release: () => Promise<void>
}

export const startGuard = async (deps: {
  /** Removed at the end, with all processes that have it as HYPER_TEST_DIR in their environment. */
  readonly dir: string
  /** Removed at the end; a name that only this guard's command uses. */
  readonly cgroup: string
  /** Must end at the end of file on STDIN. */
  readonly command: readonly string[]
  readonly logPath: string
}): Promise<Guard> => {
  const script = fileURLToPath(new URL('guard.sh', import.meta.url))
  const log = await open(deps.logPath, 'a')
  // A session of its own: Ctrl-C in the terminal is for the runner. The environment is bare, so
  // that nothing of the user's settings (proxies, Docker's contexts) gets in.
  const child = spawn('sh', [script, deps.dir, deps.cgroup, ...deps.command], {
    cwd: '/',
    detached: true,
    env: { PATH: systemPath(), HOME: deps.dir },
    stdio: ['pipe', log.fd, log.fd],
  })
  let hasEnded = false
  const end = new Promise<void>((resolve) => {
    child.on('error', () => resolve())
    child.on('close', () => resolve())
  }).then(() => {
    hasEnded = true
  })
  await log.close()
  const { stdin } = child
  stdin?.on('error', () => {
    // The guard has ended before us: `hasEnded` tells.
  })
  return {
    hasEnded: () => hasEnded,
    release: async () => {
      stdin?.end()
      const timer = setTimeout(() => child.kill('SIGKILL'), RELEASE_MS)
      await end
      clearTimeout(timer)
    },
  }
}
