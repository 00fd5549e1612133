/**
 * What the engine itself hands to the OCI runtime for a function's container, read from the bundle
 * of one that it has started: seccomp, masked paths, devices, sysctls, capabilities, labels of the
 * host's security modules. It is the template of the containers that we start (config.ts), so that
 * they are fenced in as the engine's own, by its version and its operator's settings, and nothing of
 * a fence is written down twice.
 *
 * containerd's shim works in the bundle's folder and is the parent of the container's PID 1, which is
 * found by its cgroup: the engine's own number of it may be of another PID namespace.
 */

import { readdir, readFile } from 'node:fs/promises'
import Type, { type Static } from 'typebox'
import { createParser } from '../../../protocol/schema.ts'

const Strings = Type.Array(Type.String())
const Mount = Type.Object({
  destination: Type.String(),
  type: Type.Optional(Type.String()),
  source: Type.Optional(Type.String()),
  options: Type.Optional(Strings),
})

/** What we put words of our own into; all else is passed on as it is. */
const TemplateSchema = Type.Object({
  process: Type.Object({
    args: Strings,
    env: Strings,
    cwd: Type.String(),
    user: Type.Object({ uid: Type.Integer(), gid: Type.Integer() }),
    capabilities: Type.Optional(Type.Object({ bounding: Type.Optional(Strings) })),
    apparmorProfile: Type.Optional(Type.String()),
    selinuxLabel: Type.Optional(Type.String()),
  }),
  root: Type.Object({ path: Type.String(), readonly: Type.Optional(Type.Boolean()) }),
  hostname: Type.Optional(Type.String()),
  mounts: Type.Array(Mount),
  hooks: Type.Optional(Type.Unknown()),
  linux: Type.Object({
    resources: Type.Record(Type.String(), Type.Unknown()),
    cgroupsPath: Type.String(),
    namespaces: Type.Array(
      Type.Object({ type: Type.String(), path: Type.Optional(Type.String()) }),
    ),
  }),
})
export type Template = Static<typeof TemplateSchema>

const parseTemplate = createParser(
  TemplateSchema,
  'ENGINE_UNSUITABLE',
  'what the engine hands to its runtime',
)

const parentOf = async (pid: string): Promise<string> => {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  // The name before it, in brackets, may hold anything.
  const [, parent = ''] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return parent
}

const belongsTo = async (pid: string, containerId: string): Promise<boolean> => {
  const cgroups = await readFile(`/proc/${pid}/cgroup`, 'utf8').catch(() => '')
  return cgroups.includes(containerId)
}

/** Of a container of the engine's that runs. Throws why it cannot be read here. */
export const readTemplate = async (containerId: string): Promise<Template> => {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  for (const pid of pids) {
    if (!(await belongsTo(pid, containerId))) continue
    const path = `/proc/${await parentOf(pid)}/cwd/config.json`
    return parseTemplate(JSON.parse(await readFile(path, 'utf8')))
  }
  throw new Error('the engine’s processes are not to be seen from here: it is on another host')
}
