/**
 * A `docker run` line as documents print it, in the engine's own terms: the tests have no `docker`
 * command. A flag that it does not know is an error, so that nothing printed goes untried.
 */

import type Docker from 'dockerode'

type Options = Docker.ContainerCreateOptions & { name?: string; HostConfig: Docker.HostConfig }

const addPublished = (options: Options, value: string): void => {
  const [inside = '', outside = '', address = ''] = value.split(':').reverse()
  const port = `${inside}/tcp`
  options.ExposedPorts = { ...options.ExposedPorts, [port]: {} }
  options.HostConfig.PortBindings = {
    ...(options.HostConfig.PortBindings as object),
    [port]: [{ HostIp: address, HostPort: outside }],
  }
}

const FLAGS: Readonly<Record<string, (options: Options, value: string) => void>> = {
  name: (options, value) => Object.assign(options, { name: value }),
  restart: ({ HostConfig }, value) => Object.assign(HostConfig, { RestartPolicy: { Name: value } }),
  'stop-timeout': (options, value) => Object.assign(options, { StopTimeout: Number(value) }),
  user: (options, value) => Object.assign(options, { User: value }),
  env: (options, value) => Object.assign(options, { Env: [...(options.Env ?? []), value] }),
  network: ({ HostConfig }, value) => Object.assign(HostConfig, { NetworkMode: value }),
  'cap-add': ({ HostConfig }, value) =>
    Object.assign(HostConfig, { CapAdd: [...(HostConfig.CapAdd ?? []), value] }),
  'cap-drop': ({ HostConfig }, value) =>
    Object.assign(HostConfig, { CapDrop: [...(HostConfig.CapDrop ?? []), value] }),
  'security-opt': ({ HostConfig }, value) =>
    Object.assign(HostConfig, { SecurityOpt: [...(HostConfig.SecurityOpt ?? []), value] }),
  volume: ({ HostConfig }, value) =>
    Object.assign(HostConfig, { Binds: [...(HostConfig.Binds ?? []), value] }),
  publish: addPublished,
}

const SWITCHES: Readonly<Record<string, (options: Options) => void>> = {
  detach: () => undefined,
  'read-only': ({ HostConfig }) => Object.assign(HostConfig, { ReadonlyRootfs: true }),
  'no-healthcheck': (options) => Object.assign(options, { Healthcheck: { Test: ['NONE'] } }),
}

/** Throws on a flag that it does not know. */
export const readDockerRun = (line: string): Options => {
  const words = line.trim().split(/\s+/)
  if (words.splice(0, 2).join(' ') !== 'docker run') throw new Error(`not docker run: ${line}`)
  const options: Options = { HostConfig: {} }
  while (words[0]?.startsWith('--')) {
    const name = (words.shift() ?? '').slice(2)
    const [toggle, flag] = [SWITCHES[name], FLAGS[name]]
    if (toggle !== undefined) toggle(options)
    else if (flag !== undefined) flag(options, words.shift() ?? '')
    else throw new Error(`unknown flag --${name}`)
  }
  const [Image = '', ...Cmd] = words
  return { ...options, Image, Cmd }
}
