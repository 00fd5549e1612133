/**
 * The root file system of an image as the engine keeps it: layers for an overlay, the image's users,
 * its environment. A container that is created and never started pins the image, so that nobody
 * removes its layers while we use them; its own first layer has the places that Docker mounts on.
 *
 *   unknown ─► pinned     once at a time for each image
 *   pinned  ─► unknown    the image goes, or we close: not while a container of ours has its layers,
 *                         or is about to
 *   pinned  ─► unknown    somebody removed the container (`docker system prune`): seen by who needs it
 */

import { access, readFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { limits } from '../../../protocol/limits.ts'
import type { Engine } from '../../engine.ts'
import { parsePinInspect, parsePinList, statusOfRefusal } from '../../engine-answers.ts'
import { readImageFile } from './image-file.ts'
import type { UserFiles } from './users.ts'

const NOT_FOUND = 404
const CONFLICT = 409
const PIN = 'hyper.pin'
/** Of the agent's id and the image's, in a pin's name. */
const AGENT_CHARS = 8
const IMAGE_CHARS = 12

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
  /**
   * `act` on the image's root, which stays meanwhile; once more on a fresh one where it failed because
   * the root was taken away. Throws what the engine said, or why its layers cannot be used.
   */
  use<T>(image: string, act: (root: ImageRoot) => Promise<T>): Promise<T>
  /** The image may go, unless a container of it is there, or is being started. */
  forget(image: string): Promise<void>
  /** Of every image, also what an earlier process of this agent pinned. */
  close(): Promise<void>
}

interface Pin {
  readonly id: string
  readonly root: ImageRoot
}

/** The pin's own layer: it goes with the pin, and those of the image may go then. */
const firstOf = ({ layers, lower }: Pick<ImageRoot, 'layers' | 'lower'>): string =>
  join(layers, lower.replace(/:.*/, ''))

const isThere = ({ root }: Pin): Promise<boolean> =>
  access(firstOf(root)).then(
    () => true,
    () => false,
  )

/** Where the layers of a container of the engine's lie. */
const layersOf = async (driver: string, upper: string) => {
  if (driver !== 'overlay2')
    throw new Error(`the engine’s storage driver is ${driver}, not overlay2`)
  const top = dirname(upper)
  const lower = (await readFile(`${top}/lower`, 'utf8')).trim()
  if (!/^l\/[A-Z0-9]+(:l\/[A-Z0-9]+)*$/.test(lower)) {
    throw new Error(`the engine’s layers are not as expected under ${basename(top)}`)
  }
  const found = { layers: dirname(top), lower }
  await access(firstOf(found))
  return found
}

export const createImageRoots = (
  { docker }: Pick<Engine, 'docker'>,
  agentId: string,
  isUsed: (image: string) => Promise<boolean>,
): ImageRoots => {
  const pins = new Map<string, Promise<Pin>>()
  /** Removals of pins that are under way: their names are taken until then. */
  const leaving = new Map<string, Promise<void>>()
  /** How many need an image's root that no container's labels tell of yet. */
  const uses = new Map<string, number>()
  const within = () => ({ abortSignal: AbortSignal.timeout(limits.engineAnswerMs) })

  const remove = async (id: string): Promise<void> => {
    await docker
      .getContainer(id)
      .remove({ force: true, v: true, ...within() })
      .catch((error: unknown) => {
        if (statusOfRefusal(error) !== NOT_FOUND) throw error
      })
  }

  const listPins = async () => {
    const filters = JSON.stringify({ label: [`${PIN}=${agentId}`] })
    const options = { all: true, filters, ...within() } as const
    return parsePinList(await docker.listContainers(options))
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

  const nameOf = (image: string): string => {
    const hash = image.replace(/^sha256:/, '').slice(0, IMAGE_CHARS)
    return `hyper-pin-${agentId.slice(-AGENT_CHARS)}-${hash}`
  }

  /** The engine may have made it though we were not told so: then its name is taken, by ours. */
  const create = async (image: string): Promise<string> => {
    const name = nameOf(image)
    const Labels = { hyper: 'pin', [PIN]: agentId }
    const body = { Image: image, Entrypoint: ['/'], Cmd: [], Labels }
    const _body = { ...body, HostConfig: { NetworkMode: 'none' } }
    try {
      return (await docker.createContainer({ _query: { name }, _body, ...within() })).id
    } catch (error) {
      if (statusOfRefusal(error) !== CONFLICT) throw error
      const found = (await listPins()).find(({ ImageID }) => ImageID === image)
      if (found === undefined) throw error
      return found.Id
    }
  }

  const pin = async (image: string): Promise<Pin> => {
    await leaving.get(image)
    const id = await create(image)
    try {
      return await describe(id)
    } catch (error) {
      await remove(id).catch(() => undefined)
      throw error
    }
  }

  /** What could not be found out is asked again. */
  const hold = (image: string, made: Promise<Pin>): Promise<Pin> => {
    const drop = (): void => {
      if (pins.get(image) === made) pins.delete(image)
    }
    pins.set(image, made)
    made.catch(drop)
    return made
  }

  /** A look at the disk for each use: who removes a pin tells nobody. */
  const pinned = async (image: string): Promise<ImageRoot> => {
    const held = pins.get(image)
    const found = await held
    if (found !== undefined && (await isThere(found))) return found.root
    if (pins.get(image) === held) pins.delete(image)
    return (await (pins.get(image) ?? hold(image, pin(image)))).root
  }

  const count = (image: string, more: 1 | -1): void => {
    const number = (uses.get(image) ?? 0) + more
    if (number === 0) uses.delete(image)
    else uses.set(image, number)
  }

  const use: ImageRoots['use'] = async (image, act) => {
    count(image, 1)
    try {
      const root = await pinned(image)
      try {
        return await act(root)
      } catch (error) {
        const fresh = await pinned(image)
        if (fresh === root) throw error
        return await act(fresh)
      }
    } finally {
      count(image, -1)
    }
  }

  const removePins = async (image: string): Promise<void> => {
    for (const { Id, ImageID } of await listPins()) if (ImageID === image) await remove(Id)
  }

  const forget = async (image: string): Promise<void> => {
    // Nothing may come between the last look and the pin's way out.
    if ((await isUsed(image)) || uses.has(image)) return
    const held = pins.get(image)?.catch(() => undefined)
    pins.delete(image)
    const left = Promise.resolve(held).then(() => removePins(image))
    const gone = left
      .catch(() => undefined)
      .then(() => {
        if (leaving.get(image) === gone) leaving.delete(image)
      })
    leaving.set(image, gone)
    await left
  }

  return {
    async adopt() {
      for (const { Id, ImageID } of await listPins()) {
        const held = await pins.get(ImageID)?.catch(() => undefined)
        if (held?.id === Id) continue
        if (held !== undefined) await remove(Id)
        else await hold(ImageID, describe(Id)).catch(() => remove(Id))
      }
    },
    use,
    forget,
    async close() {
      const left = (await listPins()).map(({ ImageID }) => ImageID)
      const images = [...new Set([...pins.keys(), ...left])]
      await Promise.all(images.map((image) => forget(image).catch(() => undefined)))
    },
  }
}
