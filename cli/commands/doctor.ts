/**
 * `hyper doctor`: what this machine has and lacks, each with what to do next. It changes nothing.
 * Exit code 1 where something keeps it from working; what only limits it is a warning.
 */

import type { Client } from '../../client/client.ts'
import type { ExaminationConfig, Finding } from '../../protocol/daemon.ts'
import { EXIT, toHyperError } from '../../protocol/errors.ts'
import { VERSION } from '../../protocol/version.ts'
import { chooseTarget, hasContext, type Target } from '../context.ts'
import { startDaemon } from '../daemon.ts'
import { examinationConfigOf } from '../daemon-config.ts'
import type { Input } from '../input.ts'
import { memberFindings } from '../member-findings.ts'
import { modulePath } from '../program.ts'

const MARKS = { good: 'ok', warning: 'warn', bad: 'FAIL' } as const

/** What a coordinator says of itself, where one answers. */
interface Far {
  readonly findings: readonly Finding[]
  readonly mesh: ExaminationConfig['mesh']
}

/** By a process of its own: `hyper` itself loads neither the mesh nor what speaks to engines. */
const examine = async (
  { environment, output }: Input,
  mesh: ExaminationConfig['mesh'],
): Promise<readonly Finding[]> => {
  const daemon = startDaemon({
    program: modulePath('agent/examination-main'),
    config: examinationConfigOf(environment, mesh),
    name: 'doctor',
    onProgress: output.note,
  })
  const { findings = [] } = await daemon.ready.finally(() => daemon.ended)
  return findings
}

const askCoordinator = async (client: Client): Promise<Far> => {
  const { Hyper } = await client.overview()
  const count = Hyper.agents?.connected ?? 'some'
  const agents = count === 1 ? '1 agent' : `${count} agents`
  const message = `hyper ${Hyper.version} at ${client.endpoint}, ${agents} connected`
  const isSame = Hyper.version === VERSION
  const coordinator: Finding = {
    ...{ check: 'coordinator', message, state: isSame ? 'good' : 'warning' },
    next: isSame ? '' : `This is hyper ${VERSION}: run the same version on both sides.`,
  }
  // Only the operator may see the members.
  const members = Hyper.operator ? memberFindings(await client.agents.list()) : []
  return {
    findings: [coordinator, ...members],
    mesh: { peerId: Hyper.peerId, addresses: [...Hyper.mesh] },
  }
}

/** No coordinator is no fault of a machine that knows of none. */
const lookFar = async (input: Input): Promise<Far> => {
  const { environment, flags } = input
  const endpoint = flags.text('endpoint')
  try {
    return await askCoordinator(await input.connect())
  } catch (error) {
    const { code, message, line } = toHyperError(error)
    const target: Target = await chooseTarget(endpoint, environment).catch(() => ({ endpoint: '' }))
    const at = target.endpoint
    const isNamed = endpoint !== undefined || (await hasContext(environment))
    const hasToken = target.token !== undefined || target.keys !== undefined
    const isAbsent = code === 'UNREACHABLE'
    const isStrange = code === 'UNAUTHORIZED' && !hasToken
    const next = line.slice(message.length).replace(/^\. /, '')
    if (isNamed || !(isAbsent || isStrange)) {
      return { findings: [{ check: 'coordinator', state: 'bad', message, next }], mesh: null }
    }
    const none = isAbsent
      ? `none is known here, and none answers at ${at}`
      : `none is known here; one answers at ${at}, and wants a token`
    const finding: Finding = {
      ...{ check: 'coordinator', state: 'warning', message: none },
      next: `Where only an agent runs, that is fine. ${next}`,
    }
    return { findings: [finding], mesh: null }
  }
}

export const runDoctor = async (input: Input): Promise<number> => {
  const { output } = input
  const far = await lookFar(input)
  const findings = [...(await examine(input, far.mesh)), ...far.findings]
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
