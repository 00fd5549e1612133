/**
 * `hyper doctor`: what this machine has and lacks, each with what to do next. It changes nothing.
 * Exit code 1 where something keeps it from working; what only limits it is a warning.
 */

import { connect as connectTo } from 'node:net'
import type { Client } from '../../client/client.ts'
import type { Finding } from '../../protocol/daemon.ts'
import { EXIT, toHyperError } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import { VERSION } from '../../protocol/version.ts'
import { chooseTarget, hasContext } from '../context.ts'
import { startDaemon } from '../daemon.ts'
import { examinationConfigOf } from '../daemon-config.ts'
import type { Input } from '../input.ts'
import { modulePath } from '../program.ts'

const MARKS = { good: 'ok', warning: 'warn', bad: 'FAIL' } as const
const MESH_ADDRESS = /^\/(?:ip4|ip6|dns[46]?)\/([^/]+)\/tcp\/(\d+)/

const hostFindings = async ({ environment, output }: Input): Promise<readonly Finding[]> => {
  const daemon = startDaemon({
    program: modulePath('agent/examination-main'),
    config: examinationConfigOf(environment),
    name: 'doctor',
    onProgress: output.note,
  })
  const { findings = [] } = await daemon.ready.finally(() => daemon.ended)
  return findings
}

const canConnect = (host: string, port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connectTo({ host, port, timeout: limits.doctorConnectMs })
    const end = (isOpen: boolean) => (): void => {
      socket.destroy()
      resolve(isOpen)
    }
    socket.on('connect', end(true)).on('timeout', end(false)).on('error', end(false))
  })

const meshFinding = async (addresses: readonly string[]): Promise<Finding> => {
  for (const address of addresses) {
    const [, host, port] = MESH_ADDRESS.exec(address) ?? []
    if (host === undefined || port === undefined) continue
    if (await canConnect(host, Number(port))) {
      return { check: 'mesh', state: 'good', message: `${address} is reached`, next: '' }
    }
  }
  return {
    ...{ check: 'mesh', state: 'bad' },
    message: `none of the mesh’s addresses is reached from here: ${addresses.join(', ')}`,
    next: 'Open its port in the firewall, or say --announce where it is reached.',
  }
}

const coordinatorFindings = async (client: Client): Promise<readonly Finding[]> => {
  const { Hyper } = await client.overview()
  const count = Hyper.agents?.connected ?? 'some'
  const agents = count === 1 ? '1 agent' : `${count} agents`
  const message = `hyper ${Hyper.version} at ${client.endpoint}, ${agents} connected`
  const isSame = Hyper.version === VERSION
  return [
    {
      ...{ check: 'coordinator', message, state: isSame ? 'good' : 'warning' },
      next: isSame ? '' : `This is hyper ${VERSION}: run the same version on both sides.`,
    },
    await meshFinding(Hyper.mesh),
  ]
}

/** No coordinator is no fault of a machine that knows of none. */
const farFindings = async (input: Input): Promise<readonly Finding[]> => {
  const { environment, flags } = input
  const endpoint = flags.text('endpoint')
  try {
    return await coordinatorFindings(await input.connect())
  } catch (error) {
    const { code, message, line } = toHyperError(error)
    const { endpoint: at } = await chooseTarget(endpoint, environment).catch(() => ({
      endpoint: '',
    }))
    const isNamed = endpoint !== undefined || (await hasContext(environment))
    const next = line.slice(message.length).replace(/^\. /, '')
    if (isNamed || code !== 'UNREACHABLE') {
      return [{ check: 'coordinator', state: 'bad', message, next }]
    }
    const none = `none is known here, and none answers at ${at}`
    return [
      {
        check: 'coordinator',
        state: 'warning',
        message: none,
        next: `Where only an agent runs, that is fine. ${next}`,
      },
    ]
  }
}

export const runDoctor = async (input: Input): Promise<number> => {
  const { output } = input
  const findings = [...(await hostFindings(input)), ...(await farFindings(input))]
  if (output.isJson) output.json(findings)
  else {
    for (const { check, state, message, next } of findings) {
      if (output.isQuiet && state === 'good') continue
      output.line(`${MARKS[state].padEnd(6)}${check.padEnd(13)}${message}`)
      if (next !== '') output.line(`${' '.repeat(19)}${next}`)
    }
  }
  return findings.some(({ state }) => state === 'bad') ? EXIT.failed : EXIT.done
}
