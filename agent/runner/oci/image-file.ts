/**
 * A small file of an image, read from a container that pins it. An image is a stranger's: its files
 * may be of any size, and links to anywhere.
 */

import { HyperError } from '../../../protocol/errors.ts'
import { limits } from '../../../protocol/limits.ts'
import { parsePathStat, statusOfRefusal } from '../../engine-answers.ts'
import type { EngineClient } from '../../engine-client.ts'
import { firstFileOf } from '../../tar.ts'

const NOT_FOUND = 404
/** The engine follows a link to its end itself; that may be a link by then. */
const LINKS_MAX = 4
/** What an archive has around its one file, and more. */
const FRAME_BYTES = 16 * 1024

const refused = (path: string, why: string): HyperError =>
  new HyperError(
    'USER_NOT_FOUND',
    `the container could not be started: ${path} of the image ${why}`,
  )

/** Where the link leads in the image; '' where it is none. */
const targetOf = (header: unknown): string => {
  const text = Buffer.from(String(header ?? ''), 'base64').toString()
  return text === '' ? '' : (parsePathStat(JSON.parse(text)).linkTarget ?? '')
}

/** '' where there is none. Throws USER_NOT_FOUND where it is no file, or too large. */
export const readImageFile = async (
  container: ReturnType<EngineClient['getContainer']>,
  path: string,
  links = LINKS_MAX,
): Promise<string> => {
  if (links === 0) throw refused(path, 'is behind too many links')
  try {
    const abortSignal = AbortSignal.timeout(limits.engineAnswerMs)
    const archive = await container.getArchive({ path, abortSignal })
    const target = targetOf(archive.headers['x-docker-container-path-stat'])
    if (target !== '' && target !== path) {
      archive.destroy()
      return await readImageFile(container, target, links - 1)
    }
    const chunks: Buffer[] = []
    let bytes = 0
    // Who leaves the loop ends the stream.
    for await (const chunk of archive) {
      const part = Buffer.from(chunk)
      bytes += part.byteLength
      if (bytes > limits.usersFileBytesMax + FRAME_BYTES) {
        throw refused(path, `is larger than ${limits.usersFileBytesMax} bytes`)
      }
      chunks.push(part)
    }
    const content = firstFileOf(Buffer.concat(chunks))
    if (content === null) throw refused(path, 'is no file')
    return content.toString()
  } catch (error) {
    if (statusOfRefusal(error) === NOT_FOUND) return ''
    throw error
  }
}
