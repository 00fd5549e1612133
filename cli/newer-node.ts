/**
 * Starts this program again under the Node that came as an npm package, when the one that found it
 * is too old. Compiled, this file and main.ts must parse and run on Node 20; they import nothing
 * of the project. Signals and the exit status pass through.
 */

import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'

const FORWARDED: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']

const findNode = (): string | undefined => {
  const { platform, arch } = process
  try {
    return createRequire(import.meta.url).resolve(`node-${platform}-${arch}/bin/node`)
  } catch {
    return undefined
  }
}

/** Resolves with the exit code; ends by the same signal where the program ended by one. */
const runUnder = (node: string, args: readonly string[]): Promise<number> =>
  new Promise((resolve) => {
    const child = spawn(node, args, { stdio: 'inherit' })
    // Ctrl-C reaches the child twice; a second signal counts for a daemon only after a second.
    const forward = (signal: NodeJS.Signals): void => {
      child.kill(signal)
    }
    for (const signal of FORWARDED) process.on(signal, forward)
    child.on('error', (error) => {
      process.stderr.write(`hyper: cannot start ${node}: ${error.message}\n`)
      resolve(1)
    })
    child.on('close', (code, signal) => {
      for (const name of FORWARDED) process.off(name, forward)
      if (signal !== null) process.kill(process.pid, signal)
      resolve(code ?? 1)
    })
  })

export const runUnderNewerNode = async (
  script: string,
  argv: readonly string[],
): Promise<never> => {
  const node = findNode()
  if (node === undefined) {
    process.stderr.write(
      `hyper: Node 22.18 or newer is needed, this is ${process.versions.node}. Install Node 24 from https://nodejs.org, or run \`npm install\` without --omit=optional.\n`,
    )
    process.exit(1)
  }
  process.exit(await runUnder(node, ['--', script, ...argv]))
}
