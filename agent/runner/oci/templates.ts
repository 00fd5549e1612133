/**
 * The templates of containers, one a profile: each is read once, from a container that the engine
 * itself has started with that profile, when it is first asked for. What cannot be read is tried
 * again with the next call that needs it, and all of them are read anew from an engine that went
 * away: its operator may have given it other settings. A container of the profile that runs for another
 * reason does as well (`learn`): to start one takes the better part of a second.
 */

import { SIZES } from '../../../protocol/func.ts'
import { limits } from '../../../protocol/limits.ts'
import type { ContainerSpec, Runner } from '../runner.ts'
import { initPlaceOf } from './config.ts'
import { readTemplate, type Template } from './template.ts'

type Profile = ContainerSpec['fence']['profile']

/** Throws what of it our containers do not have. Pure. */
export const refuseForeign = (template: Template): void => {
  const { process, linux, mounts } = template
  const place = initPlaceOf(template)
  if (process.args.length !== 1 || mounts.every(({ destination }) => destination !== place))
    throw new Error('the engine starts another program than hyper-init')
  const kinds = linux.namespaces.map(({ type }) => type)
  if (kinds.includes('user')) throw new Error('the engine maps the users of containers')
  if (!kinds.includes('network'))
    throw new Error('the engine gives containers no network of their own')
  if (process.selinuxLabel) throw new Error('SELinux labels containers here')
}

export interface Templates {
  of(profile: Profile): Promise<Template>
  /** From a container of that profile; one that does not do is as if it had not been there. */
  learn(profile: Profile, containerId: string): Promise<void>
  /** They are read again when they are needed. */
  forget(): void
  /** Removes what an earlier process of this agent left of its reading. */
  sweep(): Promise<void>
}

export const createTemplates = (deps: {
  /** Through the engine, of an agent of its own: no sweep but ours takes what it starts. */
  readonly runner: Pick<Runner, 'start' | 'remove' | 'list'>
  /** The engine's id of an image that is there. */
  readonly image: () => Promise<string>
  readonly read?: (containerId: string) => Promise<Template>
}): Templates => {
  const { runner, read = readTemplate } = deps
  const templates = new Map<Profile, Promise<Template>>()
  const within = (): AbortSignal => AbortSignal.timeout(limits.startMsMax)

  const readFrom = async (containerId: string): Promise<Template> => {
    const template = await read(containerId)
    refuseForeign(template)
    return template
  }

  const make = async (profile: Profile): Promise<Template> => {
    const fence = { ...SIZES.s1, network: 'none', runtime: '', profile } as const
    const container = await runner.start(
      { image: await deps.image(), user: '', workingDir: '', fence, network: '', labels: {} },
      within(),
    )
    try {
      return await readFrom(container.id)
    } finally {
      container.detach()
      await runner.remove(container.id, within())
    }
  }

  const keep = (profile: Profile, made: Promise<Template>): Promise<Template> => {
    templates.set(profile, made)
    made.catch(() => {
      if (templates.get(profile) === made) templates.delete(profile)
    })
    return made
  }

  return {
    of: (profile) => templates.get(profile) ?? keep(profile, make(profile)),
    async learn(profile, containerId) {
      if (!templates.has(profile)) await keep(profile, readFrom(containerId)).catch(() => undefined)
    },
    forget: () => templates.clear(),
    async sweep() {
      for (const { id } of await runner.list(within())) await runner.remove(id, within())
    },
  }
}
