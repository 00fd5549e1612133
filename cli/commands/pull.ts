/** `hyper pull` and `hyper images`. */

import { firstArgument, type Input } from '../input.ts'
import { createPlainProgress, createTerminalProgress, type ShowProgress } from '../pull-progress.ts'
import { formatAgo, formatBytes } from '../quantity.ts'
import { readRegistryAuth } from '../registry-auth.ts'

const progressOf = ({ output }: Input): ShowProgress => {
  if (output.isJson) return (progress) => output.json(progress, 'line')
  if (output.isQuiet) return () => undefined
  const write = (text: string): void => {
    process.stdout.write(text)
  }
  return output.isTerminal
    ? createTerminalProgress(write, () => process.stdout.columns)
    : createPlainProgress(write)
}

export const pullImage = async (input: Input): Promise<undefined> => {
  const image = firstArgument(input)
  const registryAuth = await readRegistryAuth(image, input.environment)
  const client = await input.connect()
  const show = progressOf(input)
  const options = registryAuth === undefined ? {} : { registryAuth }
  for await (const progress of client.images.pull(image, options)) show(progress)
  if (input.output.isQuiet && !input.output.isJson) input.output.line(image)
  return undefined
}

const createdOf = (created: number | string | undefined): string | null => {
  if (created === undefined) return null
  return typeof created === 'number' ? new Date(created * 1000).toISOString() : created
}

export const listImages = async (input: Input): Promise<undefined> => {
  const client = await input.connect()
  const images = await client.images.list()
  const nowMs = Date.now()
  input.output.listing(images, ['IMAGE', 'ID', 'CREATED', 'SIZE'], (image) => [
    image.RepoTags?.[0] ?? image.RepoDigests?.[0] ?? '<none>',
    image.Id.replace(/^sha256:/, '').slice(0, 12),
    formatAgo(createdOf(image.Created), nowMs),
    formatBytes(image.Size ?? 0),
  ])
  return undefined
}
