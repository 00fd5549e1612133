/**
 * The templates of containers, one a profile: each is read once, from a container that the engine
 * itself has started with that profile, when it is first asked for. What cannot be read is tried
 * again with the next call that needs it.
 */

import { SIZES } from '../../../protocol/func.ts'
import { limits } from '../../../protocol/limits.ts'
import type { ContainerSpec, Runner } from '../runner.ts'
import { readTemplate, type Template } from './template.ts'

type Profile = ContainerSpec['fence']['profile']

/** Throws what of it our containers do not have. Pure. */
export const refuseForeign = ({ process, linux }: Template): void => {
  const kinds = linux.namespaces.map(({ type }) => type)
  if (kinds.includes('user')) throw new Error('the engine maps the users of containers')
  if (!kinds.includes('network'))
    throw new Error('the engine gives containers no network of their own')
  if (process.selinuxLabel) throw new Error('SELinux labels containers here')
}

export const createTemplates = (deps: {
  /** Through the engine, of an agent of its own: no sweep takes what it starts. */
  readonly runner: Pick<Runner, 'start' | 'remove'>
  /** The engine's id of an image that is there. */
  readonly image: () => Promise<string>
}) => {
  const templates = new Map<Profile, Promise<Template>>()

  const make = async (profile: Profile): Promise<Template> => {
    const fence = { ...SIZES.s1, network: 'none', runtime: '', profile } as const
    const container = await deps.runner.start(
      { image: await deps.image(), user: '', workingDir: '', fence, network: '', labels: {} },
      AbortSignal.timeout(limits.startMsMax),
    )
    try {
      const template = await readTemplate(container.id)
      refuseForeign(template)
      return template
    } finally {
      container.detach()
      await deps.runner.remove(container.id, AbortSignal.timeout(limits.startMsMax))
    }
  }

  return (profile: Profile): Promise<Template> => {
    const present = templates.get(profile)
    if (present !== undefined) return present
    const made = make(profile)
    templates.set(profile, made)
    made.catch(() => templates.delete(profile))
    return made
  }
}
