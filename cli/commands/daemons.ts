/**
 * `hyper coordinator`, `hyper agent` and `hyper join`: one daemon in the foreground, for good or
 * until Ctrl-C.
 */

import { COORDINATOR_PROCESS } from '../../protocol/daemon.ts'
import { limits } from '../../protocol/limits.ts'
import { agentConfigOf, coordinatorConfigOf } from '../daemon-config.ts'
import { runForeground } from '../foreground.ts'
import { firstArgument, type Input } from '../input.ts'
import { modulePath } from '../program.ts'
import { parseCount } from '../quantity.ts'
import { readTicket, readTicketIfThere } from '../secret.ts'

export const runCoordinator = ({ flags, environment, output }: Input): Promise<number> => {
  const start = {
    program: modulePath('coordinator/main'),
    config: coordinatorConfigOf(flags, environment),
    name: 'coordinator',
    process: COORDINATOR_PROCESS,
    onProgress: output.note,
  }
  return runForeground(start, ({ url, peerId, listen, mesh }) => {
    if (output.isJson) output.json({ url, peerId, listen, mesh })
    else output.line(`The coordinator is ready at ${url}`)
  })
}

const runAs = (
  { flags, environment, output }: Input,
  membership: { readonly ticket: string | null; readonly adHoc: boolean },
): Promise<number> => {
  const number = parseCount(flags.text('number') ?? '1', '--number', {
    min: 1,
    max: limits.agentsMax,
  })
  const start = {
    program: modulePath('agent/main'),
    config: agentConfigOf(flags, environment, { number, agents: 1, ...membership }),
    name: 'agent',
    onProgress: output.note,
  }
  return runForeground(start, ({ peerId }) => {
    if (output.isJson) output.json({ peerId })
    else output.line(`The agent is ready (${peerId})`)
  })
}

export const runAgent = async (input: Input): Promise<number> => {
  const given = input.flags.text('join')
  return runAs(input, {
    ticket: given === undefined ? null : await readTicketIfThere(given, input.output.note),
    adHoc: false,
  })
}

export const joinMesh = async (input: Input): Promise<number> =>
  runAs(input, { ticket: await readTicket(firstArgument(input)), adHoc: true })
