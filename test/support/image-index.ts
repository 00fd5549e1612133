/**
 * One name for images of several platforms: an index beside images that are in the registry already,
 * written into the registry's files, since nothing outside of the engine's network reaches it.
 */

import { createHash } from 'node:crypto'
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

const INDEX = 'application/vnd.docker.distribution.manifest.list.v2+json'
const MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json'

/** `root`: the registry's files. `members`: repositories by the architecture of their `latest`. */
export const writeImageIndex = async (
  root: string,
  repository: string,
  members: Readonly<Record<string, string>>,
): Promise<void> => {
  const at = (...path: string[]): string => join(root, 'docker/registry/v2', ...path)
  const ofRepository = (name: string, ...path: string[]): string =>
    at('repositories', name, ...path)
  const blob = (hex: string): string => at('blobs/sha256', hex.slice(0, 2), hex, 'data')
  const hexOf = (digest: string): string => digest.replace(/^sha256:/, '')
  const write = async (path: string, text: string): Promise<void> => {
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, text)
  }

  const manifests: object[] = []
  for (const [architecture, member] of Object.entries(members)) {
    const digest = await readFile(
      ofRepository(member, '_manifests/tags/latest/current/link'),
      'utf8',
    )
    for (const links of ['_layers', '_manifests/revisions']) {
      await cp(ofRepository(member, links), ofRepository(repository, links), { recursive: true })
    }
    const { byteLength: size } = await readFile(blob(hexOf(digest)))
    const platform = { architecture, os: 'linux' }
    manifests.push({ mediaType: MANIFEST, size, digest, platform })
  }
  const text = JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests })
  const hex = createHash('sha256').update(text).digest('hex')
  const link = `sha256:${hex}`
  await write(blob(hex), text)
  await write(ofRepository(repository, '_manifests/revisions/sha256', hex, 'link'), link)
  await write(ofRepository(repository, '_manifests/tags/latest/index/sha256', hex, 'link'), link)
  await write(ofRepository(repository, '_manifests/tags/latest/current/link'), link)
}
