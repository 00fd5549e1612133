/**
 * `npm start`: brings the machine to where `hyper up` runs (packages, engine, build), then runs it
 * in the foreground. Arguments go on to `hyper up`. Each step is said in one line on stderr.
 * States: setting up (a signal ends it as usual) → running (a signal is the child's to answer; this
 * process only passes on what the child does not get itself, and ends as the child ended).
 */

import { spawn } from 'node:child_process'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { messageOf } from '../../protocol/errors.ts'
import {
  COMPILER_NEEDS,
  ENGINE_NEEDS,
  engineAnswers,
  ensurePackages,
  startEngine,
} from './engine-install.ts'

type End = { readonly code: number | null; readonly signal: NodeJS.Signals | null }

const top = join(dirname(fileURLToPath(import.meta.url)), '..', '..')

const say = (line: string): void => {
  process.stderr.write(`${line}\n`)
}

/** Runs a script with this Node in the foreground: same terminal, same process group. */
const runScript = (args: readonly string[]): Promise<End> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { stdio: 'inherit' })
    // Ctrl-C reaches the child from the terminal: sent on, it would count as the second one.
    const ignore = (): void => {}
    const forward = (signal: NodeJS.Signals): void => {
      child.kill(signal)
    }
    process.on('SIGINT', ignore)
    process.on('SIGTERM', forward)
    process.on('SIGHUP', forward)
    const restore = (): void => {
      process.off('SIGINT', ignore)
      process.off('SIGTERM', forward)
      process.off('SIGHUP', forward)
    }
    child.on('error', (error) => {
      restore()
      reject(error)
    })
    child.on('close', (code, signal) => {
      restore()
      resolve({ code, signal })
    })
  })

const endAs = ({ code, signal }: End): void => {
  if (signal === null) process.exitCode = code ?? 1
  else process.kill(process.pid, signal)
}

const build = async (): Promise<void> => {
  say('Building ...')
  const end = await runScript([join(top, 'cli', 'setup', 'build.ts')])
  if (end.signal !== null || end.code !== 0) throw new Error('Nothing was started.')
}

const start = async (): Promise<void> => {
  const home = process.env.HYPER_HOME ?? join(homedir(), '.hyper')
  const hasEngine = await engineAnswers()
  await ensurePackages([...COMPILER_NEEDS, ...(hasEngine ? [] : ENGINE_NEEDS)], say)
  // A package's installation may have started the engine.
  const isUp = hasEngine || (await engineAnswers())
  await Promise.all([isUp ? undefined : startEngine(home, say), build()])
  say('Starting (hyper up) ...')
  endAs(await runScript([join(top, 'dist', 'cli', 'main.js'), 'up', ...process.argv.slice(2)]))
}

try {
  await start()
} catch (error) {
  say(messageOf(error))
  process.exitCode = 1
}
