/** Short ways for tests to a function and its calls, over the plain HTTP API. */

import type { Context } from './deployment.ts'

export interface TestFunc {
  readonly name: string
  /** Its call URL's path: NAME/UUID. */
  readonly path: string
}

export const api = (
  { endpoint, token }: Context,
  method: string,
  path: string,
  body?: unknown,
): Promise<Response> =>
  fetch(`${endpoint}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })

/** Creates a function; fields of `more` join the request's body. */
export const createFunc = async (
  context: Context,
  name: string,
  image: string,
  cmd: readonly string[],
  more: { config?: object; [field: string]: unknown } = {},
): Promise<TestFunc> => {
  const { config, ...fields } = more
  const body = { Name: name, Config: { Image: image, Cmd: cmd, ...config }, ...fields }
  const response = await api(context, 'POST', '/funcs/create', body)
  if (response.status !== 201) throw new Error(`${response.status}: ${await response.text()}`)
  const { UUID } = (await response.json()) as { UUID: string }
  return { name, path: `${name}/${UUID}` }
}

export const callSync = (
  { endpoint }: Context,
  func: TestFunc,
  body: string | Uint8Array<ArrayBuffer> = '',
): Promise<Response> => fetch(`${endpoint}/call/${func.path}/sync`, { method: 'POST', body })

export const callAsync = async (
  { endpoint }: Context,
  func: TestFunc,
  body: string | Uint8Array<ArrayBuffer> = '',
): Promise<string> => {
  const response = await fetch(`${endpoint}/call/${func.path}`, { method: 'POST', body })
  if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`)
  return ((await response.json()) as { CallId: string }).CallId
}

export const waitOutput = (
  { endpoint }: Context,
  func: TestFunc,
  callId: string,
): Promise<Response> => fetch(`${endpoint}/output/${func.path}/${callId}/wait`)
