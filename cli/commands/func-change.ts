/** `hyper func update`, `rm`, `cancel`: what is done to functions and calls that are there. */

import type { FuncPatch } from '../../client/client.ts'
import { HyperError } from '../../protocol/errors.ts'
import { limits } from '../../protocol/limits.ts'
import { readFunctionEnvironment } from '../function-environment.ts'
import { firstArgument, type Input } from '../input.ts'
import { forEach } from '../problem.ts'
import { parseSeconds } from '../quantity.ts'

const patchOf = async ({ flags, environment }: Input): Promise<FuncPatch> => {
  const size = flags.text('size')
  const timeout = flags.text('timeout')
  const env = await readFunctionEnvironment(flags, environment)
  return {
    ...(size === undefined ? {} : { ContainerSize: size }),
    ...(timeout === undefined
      ? {}
      : { Timeout: parseSeconds(timeout, '--timeout', limits.timeoutSecondsMax) }),
    ...(flags.has('refresh') ? { Refresh: true } : {}),
    ...(env === undefined ? {} : { Config: { Env: env } }),
  }
}

export const updateFunc = async (input: Input): Promise<undefined> => {
  const name = firstArgument(input)
  const patch = await patchOf(input)
  if (Object.keys(patch).length === 0) {
    throw new HyperError(
      'BAD_PARAMETER',
      'nothing to update: give --size, --timeout, -e, --env-file or --refresh',
    )
  }
  const client = await input.connect()
  const func = await client.funcs.update(name, patch)
  if (input.output.isJson) input.output.json(func)
  else input.output.line(func.Name)
  return undefined
}

export const removeFuncs = async ({ args, flags, output, connect }: Input): Promise<number> => {
  const client = await connect()
  return forEach(args, output, async (name) => {
    await client.funcs.remove(name, { force: flags.has('force') })
    output.line(name)
  })
}

export const cancelCalls = async ({ args, output, connect }: Input): Promise<number> => {
  const client = await connect()
  return forEach(args, output, async (callId) => {
    await client.calls.cancel(await client.funcs.ofCall(callId), callId)
    output.line(callId)
  })
}
