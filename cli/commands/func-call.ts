/**
 * `hyper func call` and `hyper func get`. With an output to print they are like `docker run`: the
 * function's own exit code is passed on, and stdout has the function's bytes and nothing else. A call
 * that ended in another way has the exit code of its row in protocol/errors.ts; what kept it from
 * being asked for, or answered, is 125.
 */

import { type CallAnswer, exitCodeOf, isOwnExit } from '../../client/calls.ts'
import type { Client } from '../../client/client.ts'
import { EXIT, HyperError } from '../../protocol/errors.ts'
import { firstArgument, type Input } from '../input.ts'
import type { Output } from '../output.ts'
import { readPayload } from '../payload.ts'
import { reportProblem } from '../problem.ts'
import { printBytes, reportUnfinished } from '../raw-output.ts'

/** A function's own words may be many lines: they are shown as they came. */
const reportFailure = (error: HyperError, output: Output): void => {
  if (isOwnExit(error.code) && !output.isJson) output.note(error.message)
  else reportProblem(error, output)
}

const printAnswer = async (answer: CallAnswer, output: Output): Promise<number> => {
  if (answer.state === 'finished') {
    await printBytes(answer.body)
    return EXIT.done
  }
  if (answer.state === 'failed') {
    reportFailure(answer.error, output)
    return exitCodeOf(answer)
  }
  return reportUnfinished(answer, output)
}

/** What keeps the function from answering is 125: its own codes are below and beside it. */
const likeRun = async (output: Output, act: () => Promise<CallAnswer>): Promise<number> => {
  try {
    return await printAnswer(await act(), output)
  } catch (error) {
    reportProblem(error, output)
    return EXIT.platform
  }
}

const startCall = async (
  client: Client,
  name: string,
  options: { readonly payload: Uint8Array },
  output: Output,
): Promise<undefined> => {
  const callId = await client.calls.start(await client.funcs.get(name), options)
  if (output.isJson) output.json({ CallId: callId })
  else output.line(output.isQuiet ? callId : `CallId: ${callId}`)
  return undefined
}

export const callFunc = async (input: Input): Promise<number | undefined> => {
  const { flags, output } = input
  const name = firstArgument(input)
  const options = async () => ({
    payload: flags.has('stdin') ? await readPayload() : new Uint8Array(),
  })
  if (!flags.has('sync')) return startCall(await input.connect(), name, await options(), output)
  return likeRun(output, async () => {
    const client = await input.connect()
    const [func, asked] = [await client.funcs.get(name), await options()]
    return client.calls.run(func, asked).catch((error: unknown) => {
      // Accepted or not, nobody can tell: the user should look before calling again.
      if (error instanceof HyperError && error.code === 'UNREACHABLE') {
        output.note(`The call may go on without this connection: hyper func calls ${name}`)
      }
      throw error
    })
  })
}

export const getOutput = (input: Input): Promise<number> => {
  const callId = firstArgument(input)
  return likeRun(input.output, async () => {
    const client = await input.connect()
    const func = await client.funcs.ofCall(callId)
    return client.calls.output(func, callId, { wait: input.flags.has('wait') })
  })
}
