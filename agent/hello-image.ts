/**
 * The `hello` image, which needs no registry: one static program, in the form that `docker save`
 * writes. Pure, and the same bytes for the same program, so that every engine gives it one id.
 */

import { createHash } from 'node:crypto'
import { HELLO_IMAGE } from '../protocol/image.ts'
import { encodeTar } from './tar.ts'

/** On the image: the hash of the program in it, so that another program's image is seen. */
export const HELLO_LABEL = 'hyper.hello'
export const HELLO_TAG = `${HELLO_IMAGE}:latest`

const CREATED = '1970-01-01T00:00:00Z'

const sha256 = (bytes: Uint8Array | string): string =>
  createHash('sha256').update(bytes).digest('hex')

export interface HelloImage {
  readonly programHash: string
  /** For POST /images/load. */
  readonly archive: Buffer
}

/** `platform` as Docker writes it: `linux/amd64`. */
export const makeHelloImage = (program: Uint8Array, platform: string): HelloImage => {
  const programHash = sha256(program)
  const [os, architecture] = platform.split('/')
  const layer = encodeTar([{ name: 'hello', mode: 0o755, content: program }])
  const config = JSON.stringify({
    architecture,
    config: { Cmd: ['/hello'], Labels: { [HELLO_LABEL]: programHash }, WorkingDir: '/' },
    created: CREATED,
    history: [{ created: CREATED, created_by: 'hyper' }],
    os,
    rootfs: { type: 'layers', diff_ids: [`sha256:${sha256(layer)}`] },
  })
  const configName = `${sha256(config)}.json`
  const manifest = [{ Config: configName, RepoTags: [HELLO_TAG], Layers: ['layer.tar'] }]
  const file = (name: string, content: string | Uint8Array) => ({
    name,
    mode: 0o644,
    content: typeof content === 'string' ? Buffer.from(content) : content,
  })
  return {
    programHash,
    archive: encodeTar([
      file(configName, config),
      file('layer.tar', layer),
      file('manifest.json', JSON.stringify(manifest)),
    ]),
  }
}
