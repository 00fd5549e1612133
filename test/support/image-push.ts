/**
 * From a folder to an image in the registry: makes the archive that `docker load` reads, loads it,
 * pushes it to the registry beside the engine, and removes it from the engine again, so that a test
 * that pulls it by its name really pulls.
 */

import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type Docker from 'dockerode'
import Type from 'typebox'
import { Check } from 'typebox/value'
import { run } from './program.ts'

export type ImageSource = {
  /** As Docker Hub has it: `library/ubuntu`. */
  readonly repository: string
  /** The folder that becomes the image's only layer. */
  readonly rootDir: string
  /** As Docker names them: amd64, arm64. */
  readonly architecture: string
  /** As `docker inspect` names its fields. */
  readonly config: Readonly<Record<string, unknown>>
}

const Progress = Type.Object({ error: Type.String() })

const sha256Of = async (path: string): Promise<string> => {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}

const packFolder = (folder: string, archive: string): Promise<string> =>
  run('tar', [
    '-C',
    folder,
    '--sort=name',
    '--owner=0',
    '--group=0',
    '--numeric-owner',
    '-cf',
    archive,
    '.',
  ])

/** Reads a progress stream of the engine to its end; an error in it is the operation's. */
const finish = (docker: Docker, progress: NodeJS.ReadableStream): Promise<void> =>
  new Promise((resolve, reject) => {
    docker.modem.followProgress(progress, (error: Error | null, lines: readonly unknown[]) => {
      const failure = error ?? lines.find((line) => Check(Progress, line))
      if (failure === undefined || failure === null) resolve()
      else reject(failure instanceof Error ? failure : new Error(JSON.stringify(failure)))
    })
  })

/** Writes the archive of one image, in the form of `docker save`. */
const writeImageArchive = async (
  source: ImageSource,
  tag: string,
  dir: string,
): Promise<string> => {
  const content = join(dir, 'content')
  await mkdir(content, { recursive: true })
  const layer = join(content, 'layer.tar')
  await packFolder(source.rootDir, layer)
  const created = new Date(0).toISOString()
  const config = JSON.stringify({
    architecture: source.architecture,
    os: 'linux',
    created,
    config: source.config,
    rootfs: { type: 'layers', diff_ids: [`sha256:${await sha256Of(layer)}`] },
    history: [{ created }],
  })
  await writeFile(join(content, 'config.json'), config)
  const manifest = [{ Config: 'config.json', RepoTags: [tag], Layers: ['layer.tar'] }]
  await writeFile(join(content, 'manifest.json'), JSON.stringify(manifest))
  const archive = join(dir, 'image.tar')
  await packFolder(content, archive)
  return archive
}

/** Puts an image into the registry (`127.0.0.1:5000`) as `latest`, by way of the engine. */
export const pushImage = async (deps: {
  readonly docker: Docker
  readonly registry: string
  readonly source: ImageSource
  /** An empty folder for files on the way. */
  readonly dir: string
}): Promise<void> => {
  const { docker, registry, source, dir } = deps
  const tag = `${registry}/${source.repository}:latest`
  const archive = await writeImageArchive(source, tag, dir)
  await finish(docker, await docker.loadImage(createReadStream(archive)))
  const image = docker.getImage(tag)
  await finish(
    docker,
    await image.push({ authconfig: { username: '', password: '', serveraddress: '' } }),
  )
  await image.remove({ force: true })
}
