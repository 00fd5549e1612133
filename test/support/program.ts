/** Runs a program of the machine to its end. */

import { spawn } from 'node:child_process'
import { systemPath } from '../../cli/setup/engine-install.ts'

const PROGRAM_MS = 60_000

/** STDOUT of a program that must end with 0; anything else throws with what it wrote on STDERR. */
export const run = (command: string, args: readonly string[]): Promise<string> =>
  new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      env: { ...process.env, PATH: systemPath() },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: PROGRAM_MS,
    })
    const stdout: Buffer[] = []
    const stderr: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk))
    child.on('error', reject)
    child.on('close', (code, signal) => {
      if (code === 0) resolve(Buffer.concat(stdout).toString())
      else {
        const told = Buffer.concat(stderr).toString().trim()
        reject(new Error(`${command} ${args.join(' ')} ended with ${code ?? signal}: ${told}`))
      }
    })
  })
