/**
 * The root file system of an image as the engine keeps it: layers for an overlay, the image's users,
 * its environment. A container that is created and never started pins the image, so that nobody
 * removes its layers while we use them; its own first layer has the places that Docker mounts on.
 *
 *   unknown ─► pinned     once at a time for each image
 *   pinned  ─► unknown    the image goes, or we close: not while a container of ours has its layers
 */

import { readFile } from 'node:fs/promises'
import { basename, dirname, resolve } from 'node:path'
import { limits } from '../../../protocol/limits.ts'
import type { Engine } from '../../engine.ts'
import { parsePinInspect, parsePinList, statusOfRefusal } from '../../engine-answers.ts'
import { readImageFile } from './image-file.ts'
import type { UserFiles } from './users.ts'

const NOT_FOUND = 404
const PIN = 'hyper.pin'

export interface ImageRoot {
  /** The folder that the names in `lower` are relative to. */
  readonly layers: string
  /** As overlay takes it: the uppermost first, with colons between. */
  readonly lower: string
  readonly users: UserFiles
  readonly environment: readonly string[]
  /** Folders that it declares to be volumes, those in others after them. */
  readonly volumes: readonly string[]
}

export interface ImageRoots {
  /** Takes over what an earlier process of this agent pinned. */
  adopt(): Promise<void>
  /** Throws what the engine said, or why its layers cannot be used. */
  of(image: string): Promise<ImageRoot>
  /** The image may go, unless a container of it is there. */
  forget(image: string): Promise<void>
  close(): Promise<void>
}

interface Pin {
  readonly id: string
  readonly root: ImageRoot
}

/** Where the layers of a container of the engine's lie. */
const layersOf = async (driver: string, upper: string) => {
  if (driver !== 'overlay2')
    throw new Error(`the engine’s storage driver is ${driver}, not overlay2`)
  const top = dirname(upper)
  const lower = (await readFile(`${top}/lower`, 'utf8')).trim()
  if (!/^l\/[A-Z0-9]+(:l\/[A-Z0-9]+)*$/.test(lower)) {
    throw new Error(`the engine’s layers are not as expected under ${basename(top)}`)
  }
  return { layers: dirname(top), lower }
}

export const createImageRoots = (
  { docker }: Pick<Engine, 'docker'>,
  agentId: string,
  isUsed: (image: string) => Promise<boolean>,
): ImageRoots => {
  const pins = new Map<string, Promise<Pin>>()
  const within = () => ({ abortSignal: AbortSignal.timeout(limits.engineAnswerMs) })

  const remove = async (id: string): Promise<void> => {
    await docker
      .getContainer(id)
      .remove({ force: true, v: true, ...within() })
      .catch((error: unknown) => {
        if (statusOfRefusal(error) !== NOT_FOUND) throw error
      })
  }

  const describe = async (id: string): Promise<Pin> => {
    const container = docker.getContainer(id)
    const answer = await container.inspect(within())
    const { GraphDriver, Config } = parsePinInspect(answer)
    const { layers, lower } = await layersOf(GraphDriver.Name, GraphDriver.Data?.UpperDir ?? '')
    const users = {
      passwd: await readImageFile(container, '/etc/passwd'),
      group: await readImageFile(container, '/etc/group'),
    }
    const volumes = new Set(Object.keys(Config.Volumes ?? {}).map((path) => resolve('/', path)))
    const said = { environment: Config.Env ?? [], volumes: [...volumes].sort() }
    return { id, root: { layers, lower, users, ...said } }
  }

  const pin = async (image: string): Promise<Pin> => {
    const Labels = { hyper: 'pin', [PIN]: agentId }
    const body = { Image: image, Entrypoint: ['/'], Cmd: [], Labels }
    const HostConfig = { NetworkMode: 'none' }
    const { id } = await docker.createContainer({
      ...{ _query: {}, _body: { ...body, HostConfig } },
      ...within(),
    })
    try {
      return await describe(id)
    } catch (error) {
      await remove(id).catch(() => undefined)
      throw error
    }
  }

  /** What could not be found out is asked again. */
  const hold = (image: string, made: Promise<Pin>): Promise<Pin> => {
    pins.set(image, made)
    made.catch(() => pins.delete(image))
    return made
  }

  const forget = async (image: string): Promise<void> => {
    if (await isUsed(image)) return
    const pinned = await pins.get(image)?.catch(() => null)
    pins.delete(image)
    if (pinned) await remove(pinned.id)
  }

  return {
    async adopt() {
      const filters = JSON.stringify({ label: [`${PIN}=${agentId}`] })
      const options = { all: true, filters, ...within() } as const
      for (const { Id, ImageID } of parsePinList(await docker.listContainers(options))) {
        if (pins.has(ImageID)) await remove(Id)
        else await hold(ImageID, describe(Id))
      }
    },
    async of(image) {
      const pinned = await (pins.get(image) ?? hold(image, pin(image)))
      return pinned.root
    },
    forget,
    async close() {
      await Promise.all([...pins.keys()].map((image) => forget(image).catch(() => undefined)))
    },
  }
}
