/** `hyper func create`: flags and the words after IMAGE become a function. */

import type { FuncDefinition } from '../../client/client.ts'
import { HyperError } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import type { Environment } from '../environment.ts'
import { readFunctionEnvironment } from '../function-environment.ts'
import { type Flags, firstArgument, type Input } from '../input.ts'
import { parseCount, parsePairs, parseSeconds } from '../quantity.ts'

/** `{ [field]: value }` where there is a value: an absent field has the coordinator's default. */
const field = <K extends string, V>(name: K, value: V | undefined): { readonly [P in K]?: V } => {
  const found: { [P in K]?: V } = {}
  if (value !== undefined) found[name] = value
  return found
}

const pairsOf = (flags: Flags, name: string): Record<string, string> | undefined => {
  const entries = flags.texts(name)
  return entries.length === 0 ? undefined : parsePairs(entries, `--${name}`)
}

const countOf = (
  flags: Flags,
  name: string,
  flag: string,
  bounds: Parameters<typeof parseCount>[2],
): number | undefined => {
  const text = flags.text(name)
  return text === undefined ? undefined : parseCount(text, flag, bounds)
}

const secondsOf = (flags: Flags, name: string, flag: string, max: number): number | undefined => {
  const text = flags.text(name)
  return text === undefined ? undefined : parseSeconds(text, flag, max)
}

/** One of a few words: the coordinator would name the field that it becomes. */
const wordOf = (flags: Flags, name: string, words: readonly string[]): string | undefined => {
  const text = flags.text(name)
  if (text === undefined || words.includes(text)) return text
  throw new HyperError(
    'BAD_PARAMETER',
    `--${name}: ${JSON.stringify(text)} is none of ${words.join(', ')}`,
  )
}

const workdirOf = (flags: Flags): string | undefined => {
  const text = flags.text('workdir')
  if (text === undefined || text.startsWith('/')) return text
  throw new HyperError('BAD_PARAMETER', `--workdir: ${JSON.stringify(text)} does not start with /`)
}

const configOf = async (
  flags: Flags,
  image: string,
  command: readonly string[],
  environment: Environment,
): Promise<FuncDefinition['Config']> => {
  const entrypoint = flags.text('entrypoint')
  return {
    Image: image,
    ...field('Cmd', command.length === 0 ? undefined : command),
    ...field('Entrypoint', entrypoint === undefined ? undefined : [entrypoint]),
    ...field('Env', await readFunctionEnvironment(flags, environment)),
    ...field('WorkingDir', workdirOf(flags)),
    ...field('User', flags.text('user')),
    ...field('Labels', pairsOf(flags, 'label')),
    ...field('StopSignal', flags.text('stopSignal')),
  }
}

const definitionOf = async (input: Input): Promise<FuncDefinition> => {
  const { flags, rest, environment } = input
  const name = flags.text('name')
  if (name === undefined) {
    throw new HyperError(
      'BAD_PARAMETER',
      'a function needs a name: `hyper func create --name NAME IMAGE`',
    )
  }
  const network = wordOf(flags, 'network', ['bridge', 'none'])
  return {
    Name: name,
    ...field('ContainerSize', flags.text('size')),
    ...field('Timeout', secondsOf(flags, 'timeout', '--timeout', limits.timeoutSecondsMax)),
    Config: await configOf(flags, firstArgument(input), rest, environment),
    ...field('HostConfig', network === undefined ? undefined : { NetworkMode: network }),
    ...field(
      'MaxAttempts',
      countOf(flags, 'maxAttempts', '--max-attempts', { min: 1, max: limits.maxAttemptsMax }),
    ),
    ...field('AtMostOnce', flags.has('atMostOnce') ? true : undefined),
    ...field(
      'RetryOnExit',
      countOf(flags, 'retryOnExit', '--retry-on-exit', { max: limits.retryOnExitMax }),
    ),
    ...field(
      'QueueTimeout',
      secondsOf(flags, 'queueTimeout', '--queue-timeout', limits.queueTimeoutSecondsMax),
    ),
    ...field('Runtime', flags.text('runtime')),
    ...field('Profile', wordOf(flags, 'profile', ['default', 'strict', 'compat'])),
    ...field('Constraints', pairsOf(flags, 'constraint')),
  }
}

export const createFunc = async (input: Input): Promise<undefined> => {
  const definition = await definitionOf(input)
  const client = await input.connect()
  const func = await client.funcs.create(definition)
  const { output } = input
  if (output.isQuiet && !output.isJson) {
    output.line(func.Name)
    return undefined
  }
  const { Hyper } = await client.overview()
  const base = Hyper.publicUrl ?? client.endpoint
  const url = `${base.replace(/\/+$/, '')}/call/${func.Name}/${func.UUID}`
  if (output.isJson) output.json({ ...func, Url: url })
  else output.line(`${func.Name} is created with the address of ${url}`)
  return undefined
}
