/** What somebody on the host sees of an agent's containers, and does to them, whoever started them. */

import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { cgroupParentOf, openCgroups } from '../../agent/runner/oci/cgroups.ts'
import { endKeeper, isKept, untilUnkept } from '../../agent/runner/oci/keeper.ts'
import { isOciId } from '../../agent/runner/oci/oci.ts'
import type { OwnContainer } from '../../agent/runner/runner.ts'
import type { DockerClient } from './docker.ts'
import { run } from './program.ts'

const WAIT_MS = 10_000

export const createOutside = (
  docker: DockerClient['docker'],
  { home, agentId }: { readonly home: string; readonly agentId: string },
) => {
  const folderOf = (id: string): string => join(home, 'oci', id)
  const isRunning = async (id: string): Promise<boolean> =>
    isOciId(id) ? isKept(folderOf(id)) : (await docker.getContainer(id).inspect()).State.Running
  return {
    async list(): Promise<readonly OwnContainer[]> {
      const filters = JSON.stringify({ label: [`hyper.agent=${agentId}`] })
      const rows = await docker.listContainers({ all: true, filters })
      const byEngine = rows.map(({ Id, Labels, State }) => ({
        ...{ id: Id, labels: Labels, isRunning: State === 'running' },
      }))
      const folders = await readdir(join(home, 'oci')).catch(() => [])
      const byRuntime = folders.map(async (id) => {
        const text = await readFile(join(folderOf(id), 'labels.json'), 'utf8').catch(() => '{}')
        return { id, labels: JSON.parse(text), isRunning: await isRunning(id) }
      })
      return [...byEngine, ...(await Promise.all(byRuntime))]
    },
    isRunning,
    /** All that can be read of one without a look into its processes' memory. */
    async tellsOf(id: string): Promise<string> {
      if (!isOciId(id)) return JSON.stringify(await docker.getContainer(id).inspect())
      const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
      let hasConfig = false
      const told = pids.map(async (pid) => {
        const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
        if (!command.includes(folderOf(id))) return ''
        const memory = join(`/proc/${pid}/root`, folderOf(id), 't')
        // Of its processes the keeper alone has it there for all of its life.
        const config = await readFile(join(memory, 'config.json'), 'utf8').catch(() => '')
        hasConfig ||= config !== ''
        return command + config
      })
      const labels = await readFile(join(folderOf(id), 'labels.json'), 'utf8')
      const all = labels + (await Promise.all(told)).join('')
      if (!hasConfig) throw new Error(`${id} tells nothing of its configuration`)
      return all
    },
    /** Of one on a network. */
    async addressOf(id: string): Promise<string> {
      if (isOciId(id)) {
        const [folder = ''] = (await openCgroups(cgroupParentOf(agentId))).foldersOf(id)
        const pids = await readFile(join(folder, 'cgroup.procs'), 'utf8')
        const said = await run('nsenter', [
          `--net=/proc/${parseInt(pids, 10)}/ns/net`,
          'hostname',
          '-I',
        ])
        return said.trim()
      }
      const { NetworkSettings } = await docker.getContainer(id).inspect()
      return Object.values(NetworkSettings.Networks)[0]?.IPAddress ?? ''
    },
    async remove(id: string): Promise<void> {
      if (!isOciId(id)) return void (await docker.getContainer(id).remove({ force: true }))
      await endKeeper(folderOf(id))
      await untilUnkept(folderOf(id), AbortSignal.timeout(WAIT_MS))
      await rm(folderOf(id), { recursive: true, force: true })
    },
  }
}
