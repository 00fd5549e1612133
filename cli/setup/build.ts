/**
 * `npm run build`: TypeScript → dist/, and the static C programs (hyper-init, hyper-keeper, hello) beside the
 * agent's compiled code. The programs are built aside and moved into place, since a container of a
 * running agent may be executing the ones that are there.
 */

import { spawn } from 'node:child_process'
import { chmod, mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildInit } from '../../agent/init/build.ts'
import { messageOf } from '../../protocol/errors.ts'

const top = join(dirname(fileURLToPath(import.meta.url)), '..', '..')
const initDir = join(top, 'dist', 'agent', 'init')

const compile = (): Promise<void> =>
  new Promise((resolve, reject) => {
    const tsc = join(top, 'node_modules', '.bin', 'tsc')
    const child = spawn(process.execPath, [tsc, '-p', join(top, 'tsconfig.build.json')], {
      stdio: ['ignore', 'inherit', 'inherit'],
    })
    child.on('error', reject)
    child.on('close', (code) =>
      code === 0 ? resolve() : reject(new Error(`tsc ended with ${code ?? 'a signal'}`)),
    )
  })

const buildPrograms = async (): Promise<void> => {
  await mkdir(initDir, { recursive: true })
  const aside = await mkdtemp(join(initDir, '.build-'))
  try {
    const { initPath, keeperPath, helloPath } = await buildInit({ outDir: aside })
    for (const [built, name] of [
      [initPath, 'hyper-init'],
      [keeperPath, 'hyper-keeper'],
      [helloPath, 'hello'],
    ] as const) {
      await chmod(built, 0o555)
      await rename(built, join(initDir, name))
    }
  } finally {
    await rm(aside, { recursive: true, force: true })
  }
}

try {
  await Promise.all([compile(), buildPrograms()])
  await chmod(join(top, 'dist', 'cli', 'main.js'), 0o755)
} catch (error) {
  process.stderr.write(`The build failed: ${messageOf(error)}\n`)
  process.exitCode = 1
}
