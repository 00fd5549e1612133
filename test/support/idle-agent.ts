/** A whole agent without an engine: it takes no calls, and joins, comes and goes as any other. */

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { AgentConfig } from '../../protocol/daemon.ts'

export const idleAgentIn = async (folder: string): Promise<AgentConfig> => {
  // It logs by itself; a test's output is its assertions.
  process.env.HYPER_LOG_LEVEL ??= 'silent'
  const initDir = join(folder, 'init')
  await mkdir(initDir)
  for (const name of ['hyper-init', 'hello']) await writeFile(join(initDir, name), 'never run')
  return {
    ...{ home: join(folder, 'agent-1'), initDir, ticket: null, adHoc: false, labels: {} },
    ...{ slots: 1, memoryBytes: 2 ** 30, ready: 0, runner: 'docker', drainMs: 0 },
    ...{ dockerHost: `unix://${folder}/no-engine.sock`, logFormat: 'json' },
  }
}
