/**
 * An agent for the tests that kill one: starts a call by the OCI runtime, says its container's id
 * once the function's process has written, and stays until it is killed. Its one argument is JSON.
 */

import { readFile } from 'node:fs/promises'
import { openCgroups } from '../../agent/runner/oci/cgroups.ts'
import type { ImageRoot } from '../../agent/runner/oci/image-root.ts'
import { createOciRunner } from '../../agent/runner/oci/oci.ts'
import type { Template } from '../../agent/runner/oci/template.ts'
import { createZygote } from '../../agent/runner/oci/zygote.ts'
import { eventually } from './eventually.ts'
import { soon, specOf } from './runner-call.ts'

export interface OciAgentTask {
  readonly agentId: string
  readonly home: string
  readonly cgroupName: string
  readonly mountDir: string
  readonly keeper: string
  readonly runtime: string
  readonly root: ImageRoot
  readonly template: Template
  /** A file with the frame; '' leaves the container waiting for it. */
  readonly frame: string
}

const run = async (task: OciAgentTask): Promise<void> => {
  const { agentId, home, keeper, runtime, mountDir } = task
  const runner = createOciRunner({
    identity: { agentId, storeId: agentId },
    host: { cpus: () => 1, mountDir },
    ...{ home, runtime: () => runtime, link: () => null, wordsOf: () => [] },
    zygote: createZygote({ program: keeper, folder: `${home}.door` }),
    cgroups: await openCgroups(task.cgroupName),
    roots: { use: (_image, act) => act(task.root) },
    templateOf: async () => task.template,
  })
  const container = await runner.start(specOf('the image of its root'), soon())
  if (task.frame !== '') {
    let seen = 0
    const count = (chunk: Uint8Array): void => {
      seen += chunk.length
    }
    container.read({ onStdout: count, onStderr: () => undefined })
    container.write([await readFile(task.frame)])
    await eventually(() => seen > 0)
  }
  process.stdout.write(`${container.id}\n`)
  // What it stays for; whoever started it kills it.
  setInterval(() => undefined, 60_000)
}

await run(JSON.parse(process.argv[2] ?? '') as OciAgentTask)
