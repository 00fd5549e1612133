/**
 * `hyper func logs`: one line an event, in the original's words; `--json` gives the wire's lines.
 * With `--stderr` the STDERR of one call, byte for byte.
 */

import type { LogLine, LogQuery } from '../../client/client.ts'
import { HyperError } from '../../protocol/errors.ts'
import { firstArgument, type Input } from '../input.ts'
import { parseCount } from '../quantity.ts'
import { printBytes, reportUnfinished } from '../raw-output.ts'

/** What a function wrote must not look like another event: its line ends are shown as `\n`. */
const oneLine = (text: string | undefined): string =>
  (text ?? '').replace(/\n$/, '').replaceAll('\r', '\\r').replaceAll('\n', '\\n')

const detailsOf = (line: LogLine): string => {
  switch (line.Event) {
    case 'CALL':
      return `, ShortStdin: ${oneLine(line.ShortStdin)}`
    case 'FINISHED':
      return `, ShortStdout: ${oneLine(line.ShortStdout)}, ShortStderr: ${oneLine(line.ShortStderr)}`
    case 'PENDING':
      return line.Message ? `, Message: ${oneLine(line.Message)}` : ''
    case 'FAILED':
      return `, Message: ${oneLine(line.Message)}`
    default:
      return ''
  }
}

/** Whole seconds, as the original printed them. */
export const formatLogLine = (line: LogLine): string =>
  `${line.Time.replace(/\.\d+/, '')} [${line.Event}] CallId: ${line.CallId}${detailsOf(line)}`

const queryOf = ({ flags }: Input): LogQuery => {
  const tail = flags.text('tail')
  const since = flags.text('since')
  const callId = flags.text('callid')
  return {
    follow: flags.has('follow'),
    ...(tail === undefined || tail === 'all' ? {} : { tail: parseCount(tail, '--tail') }),
    ...(since === undefined ? {} : { since: parseCount(since, '--since') }),
    ...(callId === undefined ? {} : { callId }),
  }
}

const printStderr = async (input: Input): Promise<number | undefined> => {
  const { flags, output } = input
  const callId = flags.text('callid')
  if (callId === undefined) {
    throw new HyperError('BAD_PARAMETER', '--stderr is of one call: name it with --callid')
  }
  if (
    flags.has('follow') ||
    flags.text('tail') !== undefined ||
    flags.text('since') !== undefined
  ) {
    throw new HyperError('BAD_PARAMETER', '--stderr goes with --callid alone')
  }
  const client = await input.connect()
  const func = await client.funcs.get(firstArgument(input))
  const answer = await client.calls.stderr(func, callId)
  if (answer.state !== 'ended') return reportUnfinished(answer, output)
  await printBytes(answer.body)
  return undefined
}

export const showLogs = async (input: Input): Promise<number | undefined> => {
  if (input.flags.has('stderr')) return printStderr(input)
  const query = queryOf(input)
  const { output } = input
  const client = await input.connect()
  const func = await client.funcs.get(firstArgument(input))
  for await (const line of client.logs(func, query)) {
    if (output.isJson) output.json(line, 'line')
    else output.line(formatLogLine(line))
  }
  return undefined
}
