/**
 * What a machine needs before anything can run: Debian packages for missing commands, and a
 * Docker engine that answers. Everything that is changed on the machine is said first, in one line.
 * Nothing is installed unless this is root on a Debian-like system and `HYPER_SETUP` is not `ask`:
 * then the commands are told instead, as the message of the error that ends the set-up.
 * An engine that answers is never touched; one that was started here stays.
 */

import { spawn } from 'node:child_process'
import { constants } from 'node:fs'
import { access, mkdir, open } from 'node:fs/promises'
import { request } from 'node:http'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { limits } from '../../protocol/limits.ts'

/** A thing the machine must have, and the Debian packages that bring it. */
export type Need = {
  readonly what: string
  readonly packages: readonly string[]
  readonly isPresent: () => Promise<boolean>
}

type Say = (line: string) => void

const DEFAULT_SOCKET = '/var/run/docker.sock'

const isThere = (path: string, mode = constants.F_OK): Promise<boolean> =>
  access(path, mode).then(
    () => true,
    () => false,
  )

/** The folders of PATH, and those of system programs, which a user's PATH often leaves out. */
export const systemPath = (): string =>
  `${process.env.PATH ?? ''}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`

/** The path of an installed command, or undefined. */
export const findCommand = async (name: string): Promise<string | undefined> => {
  for (const folder of systemPath().split(':')) {
    const path = join(folder, name)
    if (folder !== '' && (await isThere(path, constants.X_OK))) return path
  }
  return undefined
}

export const commandNeed = (name: string, ...packages: readonly string[]): Need => ({
  what: name,
  packages,
  isPresent: async () => (await findCommand(name)) !== undefined,
})

export const ENGINE_NEEDS: readonly Need[] = [
  commandNeed('dockerd', 'docker.io'),
  commandNeed('iptables', 'iptables'),
]

/** A C compiler that links statically: hyper-init is built on the machine. */
export const COMPILER_NEEDS: readonly Need[] = [
  {
    what: 'gcc',
    packages: ['gcc', 'libc6-dev'],
    isPresent: async () => {
      const gcc = await findCommand('gcc')
      if (gcc === undefined) return false
      const { output } = await runQuietly(gcc, ['-print-file-name=libc.a'])
      return output.startsWith('/') && (await isThere(output.trim()))
    },
  },
]

/** Runs a program to its end, keeping the tail of what it prints. */
const runQuietly = (
  command: string,
  args: readonly string[],
  timeoutMs = limits.packagesMs,
): Promise<{ status: number; output: string }> =>
  new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      env: { ...process.env, PATH: systemPath(), DEBIAN_FRONTEND: 'noninteractive' },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: timeoutMs,
    })
    let output = ''
    const keep = (chunk: Buffer): void => {
      output = (output + chunk.toString()).slice(-limits.setupOutputCharsMax)
    }
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    child.on('error', reject)
    child.on('close', (code) => resolve({ status: code ?? 1, output }))
  })

const missingOf = async (needs: readonly Need[]): Promise<readonly Need[]> => {
  const presences = await Promise.all(needs.map((need) => need.isPresent()))
  return needs.filter((_need, index) => presences[index] === false)
}

/** Installs the packages of whatever is missing; throws an Error that says what to do where it may not. */
export const ensurePackages = async (needs: readonly Need[], say: Say): Promise<void> => {
  const missing = await missingOf(needs)
  if (missing.length === 0) return
  const packages = [...new Set(missing.flatMap((need) => need.packages))]
  const install = ['install', '-y', '--no-install-recommends', ...packages]
  const reason = `missing: ${missing.map((need) => need.what).join(', ')}`
  const apt = await findCommand('apt-get')
  if (apt === undefined) {
    throw new Error(`Install these first (${reason}); only Debian and Ubuntu are set up from here.`)
  }
  if (process.getuid?.() !== 0 || process.env.HYPER_SETUP === 'ask') {
    const commands = ['sudo apt-get update', `sudo apt-get ${install.join(' ')}`]
    throw new Error(`Run these, then try again (${reason}):\n  ${commands.join('\n  ')}`)
  }
  say(`Installing ${packages.join(', ')} with apt-get (${reason}) ...`)
  const waitForLock = ['-o', 'DPkg::Lock::Timeout=300']
  const update = await runQuietly(apt, ['update', ...waitForLock])
  const { status, output } = await runQuietly(apt, [...install, ...waitForLock])
  // Without a service manager a package's last step may complain, although all its files are there:
  // what was asked for decides, not the exit status.
  const stillMissing = await missingOf(missing)
  if (stillMissing.length === 0) return
  const names = stillMissing.map((need) => need.what).join(', ')
  const told = update.status === 0 ? output : `${update.output}\n${output}`
  throw new Error(`apt-get ended with ${status} and did not bring ${names}:\n${told.trim()}`)
}

/** `answers`; or why it does not. An engine on another host (ssh) is taken at its word. */
const askEngine = (dockerHost: string): Promise<'answers' | Error> => {
  const url = URL.parse(dockerHost.replace(/^tcp:/, 'http:'))
  if (url === null) return Promise.resolve(new Error('not an address'))
  const isSocket = url.protocol === 'unix:'
  if (!isSocket && url.protocol !== 'http:') return Promise.resolve('answers')
  const address = isSocket
    ? { socketPath: url.pathname }
    : { host: url.hostname, port: url.port || 2375 }
  return new Promise((resolve) => {
    const asked = request(
      { ...address, path: '/_ping', timeout: limits.engineAnswerMs },
      (response) => {
        response.resume()
        const status = response.statusCode ?? 0
        // A port with TLS answers a plain request with 400: somebody is there.
        resolve(status === 200 || !isSocket ? 'answers' : new Error(`answered ${status}`))
      },
    )
    asked.on('timeout', () => asked.destroy(new Error('does not answer')))
    asked.on('error', resolve)
    asked.end()
  })
}

/** Whether an engine answers already; throws where one is named, or there, that cannot be used. */
export const engineAnswers = async (): Promise<boolean> => {
  const named = process.env.DOCKER_HOST ?? ''
  const dockerHost = named === '' ? `unix://${DEFAULT_SOCKET}` : named
  const answer = await askEngine(dockerHost)
  if (answer === 'answers') return true
  if (named !== '') {
    throw new Error(
      `DOCKER_HOST is ${named}, but: ${answer.message}. Start it, or unset DOCKER_HOST.`,
    )
  }
  if ('code' in answer && (answer.code === 'EACCES' || answer.code === 'EPERM')) {
    throw new Error(
      `No permission for ${DEFAULT_SOCKET}. Run \`sudo usermod -aG docker $USER\`, log in again, try again.`,
    )
  }
  return false
}

const waitForEngine = async (hint: string, hasEnded: () => boolean): Promise<void> => {
  const deadline = performance.now() + limits.engineStartMs
  for (;;) {
    const answer = await askEngine(`unix://${DEFAULT_SOCKET}`)
    if (answer === 'answers') return
    if (hasEnded()) throw new Error(`The Docker engine ended while starting; ${hint}`)
    if (performance.now() > deadline) {
      throw new Error(
        `The Docker engine did not start in ${limits.engineStartMs / 1000} s; ${hint}`,
      )
    }
    await pause(50)
  }
}

/** Starts the installed engine at the default socket and waits until it answers. */
export const startEngine = async (home: string, say: Say): Promise<void> => {
  if (process.getuid?.() !== 0) {
    throw new Error(
      'No Docker engine answers. Start it with `sudo systemctl start docker`, or `sudo dockerd`.',
    )
  }
  if (await isThere('/run/systemd/system')) {
    say('Starting the Docker engine (systemctl start docker) ...')
    const { status, output } = await runQuietly(
      'systemctl',
      ['start', 'docker'],
      limits.engineStartMs,
    )
    if (status !== 0)
      throw new Error(`systemctl start docker ended with ${status}: ${output.trim()}`)
    return waitForEngine('see `journalctl -u docker`', () => false)
  }
  await startDetached(home, say)
}

/** Where no service manager runs, the engine is a process of its own that outlives this one. */
const startDetached = async (home: string, say: Say): Promise<void> => {
  await mkdir(home, { recursive: true, mode: 0o700 })
  const logPath = join(home, 'dockerd.log')
  const log = await open(logPath, 'a', 0o600)
  let hasEnded = false
  const noteEnd = (): void => {
    hasEnded = true
  }
  const engine = spawn('dockerd', [], {
    cwd: '/',
    detached: true,
    env: { ...process.env, PATH: systemPath() },
    stdio: ['ignore', log.fd, log.fd],
  })
  engine.on('error', noteEnd)
  engine.on('exit', noteEnd)
  engine.unref()
  await log.close()
  say(`Starting the Docker engine (dockerd, pid ${engine.pid}; log: ${logPath}) ...`)
  try {
    await waitForEngine(`see ${logPath}`, () => hasEnded)
  } catch (error) {
    engine.kill()
    throw error
  }
  say(`The Docker engine stays when this ends; \`kill ${engine.pid}\` stops it.`)
}
