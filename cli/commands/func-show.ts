/** `hyper func ls`, `inspect`, `status`, `calls`: what there is. */

import type { StoredFunc } from '../../client/client.ts'
import { EXIT, HyperError } from '../../protocol/errors.ts'
import { firstArgument, type Input } from '../input.ts'
import { forEach } from '../problem.ts'
import { formatAgo } from '../quantity.ts'
import { fillTemplate } from '../template.ts'

const COMMAND_CHARS = 40

/** A command as one would type it, cut for the table. */
const commandOf = ({ Config }: StoredFunc): string => {
  const words = [...(Config.Entrypoint ?? []), ...(Config.Cmd ?? [])]
  const text = words
    .map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`))
    .join(' ')
  return text.length > COMMAND_CHARS ? `${text.slice(0, COMMAND_CHARS - 1)}…` : text
}

const filtersOf = (entries: readonly string[]): Record<string, string[]> | undefined => {
  if (entries.length === 0) return undefined
  const filters: Record<string, string[]> = {}
  for (const entry of entries) {
    const at = entry.indexOf('=')
    if (at < 1) throw new HyperError('BAD_PARAMETER', `--filter: not KEY=VALUE: ${entry}`)
    const key = entry.slice(0, at)
    filters[key] = [...(filters[key] ?? []), entry.slice(at + 1)]
  }
  return filters
}

export const listFuncs = async (input: Input): Promise<undefined> => {
  const filters = filtersOf(input.flags.texts('filter'))
  const client = await input.connect()
  const funcs = await client.funcs.list(filters)
  const nowMs = Date.now()
  input.output.listing(funcs, ['NAME', 'SIZE', 'IMAGE', 'COMMAND', 'CREATED', 'UUID'], (func) => [
    func.Name,
    func.ContainerSize,
    func.Config.Image,
    commandOf(func),
    formatAgo(func.Created, nowMs),
    func.UUID,
  ])
  return undefined
}

export const inspectFuncs = async (input: Input): Promise<number> => {
  const { output, args } = input
  const client = await input.connect()
  const template = input.flags.text('format')
  const found: StoredFunc[] = []
  const exitCode = await forEach(args, output, async (name) => {
    const func = await client.funcs.get(name)
    if (template === undefined) found.push(func)
    else output.line(fillTemplate(template, func))
  })
  if (template === undefined) output.json(found)
  return exitCode
}

export const showStatus = async (input: Input): Promise<undefined> => {
  const client = await input.connect()
  const status = await client.calls.status(await client.funcs.get(firstArgument(input)))
  const { Total, Pending, Running, Finished, Failed, Waiting } = status
  if (input.output.isJson) {
    const waiting = Waiting === undefined ? {} : { Waiting }
    input.output.json({ Total, Pending, Running, Finished, Failed, ...waiting })
  } else {
    input.output.table(
      ['TOTAL', 'PENDING', 'RUNNING', 'FINISHED', 'FAILED'],
      [[Total, Pending, Running, Finished, Failed].map(String)],
    )
    if (Waiting !== undefined) input.output.note(`waiting: ${Waiting}`)
  }
  return undefined
}

export const listCalls = async (input: Input): Promise<number> => {
  const client = await input.connect()
  const calls = await client.calls.list(await client.funcs.get(firstArgument(input)))
  const onlyFailed = input.flags.has('failed')
  const nowMs = Date.now()
  input.output.listing(
    onlyFailed ? calls.filter((call) => call.Status === 'FAILED') : calls,
    ['CALLID', 'STATUS', 'CREATED', 'MESSAGE'],
    (call) => [call.CallId, call.Status, formatAgo(call.Created, nowMs), call.Message ?? ''],
  )
  return EXIT.done
}
