/** `hyper agent` and `hyper join`: an agent in the foreground, for good or until Ctrl-C. */

import { limits } from '../../protocol/limits.ts'
import { agentConfigOf } from '../daemon-config.ts'
import { runForeground } from '../foreground.ts'
import { firstArgument, type Input } from '../input.ts'
import { modulePath } from '../program.ts'
import { parseCount } from '../quantity.ts'

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

export const runAgent = (input: Input): Promise<number> =>
  runAs(input, { ticket: input.flags.text('join')?.trim() ?? null, adHoc: false })

export const joinMesh = (input: Input): Promise<number> =>
  runAs(input, { ticket: firstArgument(input).trim(), adHoc: true })
